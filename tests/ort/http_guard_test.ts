import { assert, assertEquals } from "@std/assert";
import { OPERATIONS } from "../../src/http/operations.ts";
import { readPageFiles } from "../../src/http/page_assets.ts";
import { MOST_BODY_BYTES } from "../../src/http/parse_body.ts";
import { postJson, sendBytes, serveTiny } from "../helpers/http_server.ts";
import { spellings } from "../helpers/serve_cases.ts";
import { until } from "../helpers/until.ts";

/** Greedy: a token drawn at random may be the last one. */
const CHAT = {
  messages: [{ role: "user", content: "turn on the light" }],
  max_tokens: 2,
  temperature: 0,
};

const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);

/** A request over a connection of its own, which the server closes after its answer. */
const request = (method: string, path: string, headers: readonly string[], body = "") =>
  [`${method} ${path} HTTP/1.1`, ...headers, "Connection: close", "", body].join("\r\n");

Deno.test("graft's API: no spelling of a path, and no wrong key, gets past the key", async () => {
  await using server = await serveTiny(undefined, { keys: ["secret", "other"] });
  const paths = [...OPERATIONS.map(({ path }) => path), "/openapi.json", "/none"]
    .filter((path) => path !== "/health")
    .map((path) => path.replace(":model", "x"));
  for (const path of paths) {
    for (const spelling of spellings(path)) {
      for (const key of [[], ["Authorization: Bearer wrong"], ["Authorization: Basic secret"]]) {
        for (const method of ["GET", "POST"]) {
          const answer = await sendBytes(server.port, [
            request(method, spelling, ["Host: localhost", ...key]),
          ]);
          assertEquals(statusOf(answer), 401, `${method} ${spelling} ${key}`);
        }
      }
    }
  }
  for (const headers of [["Authorization: Bearer other"], ["X-Api-Key: secret"]]) {
    const answer = await sendBytes(server.port, [
      request("GET", "/v1/models", ["Host: localhost", ...headers]),
    ]);
    assertEquals(statusOf(answer), 200);
  }
  const open = await sendBytes(server.port, [request("GET", "/health", ["Host: localhost"])]);
  assertEquals(statusOf(open), 200);
});

Deno.test("graft's API: with a page, no key opens its files and nothing else, however they are spelled", async () => {
  await using server = await serveTiny(undefined, { keys: ["secret"], page: true });
  const files = new Set(Object.values(readPageFiles(".")));
  for (const path of ["/", "/page/main.js", "/page/lib/uplot.css", "/page/none.js", "/page/"]) {
    for (const spelling of spellings(path)) {
      for (const method of ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]) {
        const answer = await sendBytes(server.port, [
          request(method, spelling, ["Host: localhost"]),
        ]);
        const what = `${method} ${spelling}`;
        const body = answer.slice(answer.indexOf("\r\n\r\n") + 4);
        if (statusOf(answer) === 401) assertEquals(files.has(body), false, what);
        else if (method === "HEAD") assertEquals([statusOf(answer), body], [200, ""], what);
        else assertEquals([method, statusOf(answer), files.has(body)], ["GET", 200, true], what);
      }
    }
    const exact = await sendBytes(server.port, [request("GET", path, ["Host: localhost"])]);
    assertEquals(statusOf(exact), /none|e\/$/.test(path) ? 401 : 200, path);
    const foreign = await sendBytes(server.port, [request("GET", path, ["Host: evil.example"])]);
    assertEquals(statusOf(foreign), 403);
  }
});

Deno.test("graft's API: only this machine's names and addresses are accepted as hosts", async () => {
  await using server = await serveTiny();
  const statusFor = async (headers: readonly string[]) =>
    statusOf(await sendBytes(server.port, [request("GET", "/v1/models", headers)]));
  for (
    const host of [
      "localhost",
      "LOCALHOST:80",
      "127.0.0.1:1",
      "192.168.1.7",
      "[::1]:8",
      "graft.test",
    ]
  ) {
    assertEquals(await statusFor([`Host: ${host}`]), 200, host);
  }
  for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"]) {
    assertEquals(await statusFor([`Host: ${host}`]), 403, host);
  }
  for (const host of ["", "a b", "evil@localhost", "[::1", "localhost:x"]) {
    assertEquals(await statusFor([`Host: ${host}`]), 400, host);
  }
  assertEquals(await statusFor([]), 400);
});

Deno.test("graft's API: a page of another origin changes nothing, and the server's own and other clients do", async () => {
  await using server = await serveTiny();
  const host = `127.0.0.1:${server.port}`;
  const statusFor = async (origin: string | undefined, named = host, method = "POST") =>
    statusOf(
      await sendBytes(server.port, [
        request(method, "/v1/files", [
          `Host: ${named}`,
          ...(origin === undefined ? [] : [`Origin: ${origin}`]),
          "Content-Type: multipart/form-data; boundary=b",
          "Content-Length: 0",
        ]),
      ]),
    );
  // 400: this server trains no models.
  for (
    const origin of [undefined, `http://${host}`, "https://graft.test", "http://graft.test:81"]
  ) {
    assertEquals(await statusFor(origin), 400, origin);
  }
  assertEquals(await statusFor(`http://LOCALHOST:${server.port}`, `Localhost:${server.port}`), 400);
  for (
    const origin of [
      "http://evil.example",
      "http://127.0.0.1:1",
      `http://localhost:${server.port}`,
      `http://${host}.evil.example`,
      `http://evil.example/${host}`,
      "null",
      "",
      host,
    ]
  ) {
    assertEquals(await statusFor(origin), 403, origin);
  }
  assertEquals(await statusFor("http://evil.example", host, "GET"), 400);
});

Deno.test("graft's API: a body has at most 4 MB, its length given or not, and is JSON", async () => {
  await using server = await serveTiny();
  const fill = (bytes: number) => {
    const [before, after] = JSON.stringify({ ...CHAT, user: "|" }).split("|");
    return before + "x".repeat(bytes - before.length - after.length) + after;
  };
  const url = `${server.url}/v1/chat/completions`;
  assertEquals((await postJson(url, fill(MOST_BODY_BYTES))).status, 200);
  assertEquals((await postJson(url, fill(MOST_BODY_BYTES + 1))).status, 413);
  const head = request("POST", "/v1/chat/completions", [
    "Host: localhost",
    "Content-Type: application/json",
    "Transfer-Encoding: chunked",
  ]);
  for (const [bytes, status] of [[MOST_BODY_BYTES, 200], [MOST_BODY_BYTES + 1, 413]]) {
    const chunk = `${bytes.toString(16)}\r\n${fill(bytes)}\r\n0\r\n\r\n`;
    assertEquals(statusOf(await sendBytes(server.port, [head, chunk])), status);
  }
  assertEquals((await postJson(url, CHAT, { "content-type": "text/plain" })).status, 415);
  for (
    const body of [
      "",
      "{",
      "[]",
      "null",
      "1",
      "[".repeat(100_000),
      '{"__proto__": {"messages": []}}',
    ]
  ) {
    assertEquals((await postJson(url, body)).status, 400, body.slice(0, 40));
  }
  const { json } = await postJson(url, { ...CHAT, max_tokens: 1e300 });
  assertEquals((json.error as { param: string }).param, "max_tokens");
  assertEquals(
    (await postJson(url, `{"messages":[{"role":"user","content":"a"}],"seed":NaN}`)).status,
    400,
  );
  assertEquals(server.failures, []);
});

Deno.test("graft's API: headers have at most 16 KB, and malformed requests end with 400", async () => {
  await using server = await serveTiny();
  const long = `X-Long: ${"x".repeat(17_000)}`;
  const head = ["Host: localhost"];
  const post = request("POST", "/v1/chat/completions", [...head, "Content-Type: application/json"]);
  assertEquals(
    statusOf(await sendBytes(server.port, [request("GET", "/health", [...head, long])])),
    431,
  );
  const both = post.replace(
    "\r\n\r\n",
    "\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  const bad = post.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
  for (const bytes of [both, bad, "GET\r\n\r\n", "\0\0\0\r\n\r\n"]) {
    const answer = await sendBytes(server.port, [bytes], 5000);
    assert([400, NaN].includes(statusOf(answer)), answer.slice(0, 80));
  }
  assertEquals((await fetch(`${server.url}/health`).then((r) => r.json())).status, "ok");
});

Deno.test("graft's API: a request that does not arrive in time ends with 408, and others are answered", async () => {
  await using server = await serveTiny(undefined, { headersMs: 1000, requestMs: 2000 });
  const silent = Array.from(
    { length: 40 },
    () => sendBytes(server.port, ["GET /health HTTP/1.1\r\n"]),
  );
  const slow = sendBytes(server.port, [
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
    "Content-Length: 100\r\n\r\n{",
  ]);
  const start = performance.now();
  assertEquals((await postJson(`${server.url}/v1/chat/completions`, CHAT)).status, 200);
  assert(performance.now() - start < 2000);
  for (const answer of await Promise.all(silent)) assertEquals(statusOf(answer), 408);
  assertEquals(statusOf(await slow), 408);
  assert(performance.now() - start < 8000);
});

Deno.test("graft's API: requests beyond the limit get 429 with Retry-After, and the limit holds", async () => {
  await using server = await serveTiny(undefined, { most: 3, parallel: 2 });
  const url = `${server.url}/v1/chat/completions`;
  const answers = await Promise.all(
    Array.from({ length: 30 }, () => postJson(url, { ...CHAT, max_tokens: 40 })),
  );
  const by = (status: number) => answers.filter((answer) => answer.status === status);
  assertEquals(by(200).length + by(429).length, 30);
  assert(by(200).length >= 3 && by(429).length > 0);
  for (const { headers, json } of by(429)) {
    assertEquals(headers.get("retry-after"), "1");
    assertEquals((json.error as { code: string }).code, "queue_full");
  }
  assertEquals(server.admission.inWork, 0);
});

Deno.test("graft's API: a client that leaves frees its place within a second, streamed or not", async () => {
  await using server = await serveTiny(undefined, { parallel: 2 });
  const url = `${server.url}/v1/chat/completions`;
  for (let i = 0; i < 10; i++) {
    const leave = new AbortController();
    const body = JSON.stringify({ ...CHAT, max_tokens: 100_000, stream: i % 2 === 0 });
    const headers = { "content-type": "application/json" };
    const asked = fetch(url, { method: "POST", headers, body, signal: leave.signal });
    if (i % 2 === 0) await (await asked).body!.getReader().read();
    else {
      asked.catch(() => {});
      while (server.admission.inWork === 0) await new Promise((done) => setTimeout(done, 2));
    }
    leave.abort();
    const start = performance.now();
    while (server.admission.inWork > 0 && performance.now() - start < 1000) {
      await new Promise((done) => setTimeout(done, 5));
    }
    assertEquals(server.admission.inWork, 0, `${i}`);
  }
  assertEquals((await postJson(url, CHAT)).status, 200);
  assertEquals(server.failures, []);
});

Deno.test("graft's API: /health is answered while texts are generated, and 503 when the server ends", async () => {
  await using server = await serveTiny(undefined, { parallel: 4 });
  const url = `${server.url}/v1/chat/completions`;
  const work = Array.from({ length: 8 }, () => postJson(url, { ...CHAT, max_tokens: 100 }));
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    const start = performance.now();
    const response = await fetch(`${server.url}/health`);
    await response.body?.cancel();
    times.push(performance.now() - start);
    assertEquals(response.status, 200);
  }
  for (const { status } of await Promise.all(work)) assertEquals(status, 200);
  assert(times.toSorted((a, b) => a - b)[18] < 1000, `${times}`);
  const ended = server.admission.end();
  assertEquals((await fetch(`${server.url}/health`)).status, 503);
  const late = await postJson(url, CHAT);
  assertEquals([late.status, late.headers.get("retry-after")], [503, "1"]);
  await ended;
});

Deno.test("graft's API: each answer has the client's request id, or a new one, and a line in the log", async () => {
  await using server = await serveTiny();
  const ask = async (id?: string) => {
    const given: Record<string, string> = id === undefined ? {} : { "x-request-id": id };
    const body = { ...CHAT, stream: true };
    const { headers } = await postJson(`${server.url}/v1/chat/completions`, body, given);
    return headers.get("x-request-id")!;
  };
  assertEquals(await ask("a-1"), "a-1");
  const made = await ask("a b");
  assert(/^[\w-]{36}$/.test(made));
  await until("both answers are in the log", () => server.entries.length >= 2);
  assertEquals(
    server.entries.map(({ id, method, path, status }) => [id, method, path, status]),
    [["a-1", "POST", "/v1/chat/completions", 200], [made, "POST", "/v1/chat/completions", 200]],
  );
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert(metrics.includes('graft_requests_total{route="/v1/chat/completions",status="200"} 2'));
  assert(metrics.includes('graft_tokens_total{kind="generated"} 4'));
});
