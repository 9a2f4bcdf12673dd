import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { graft, graftWith } from "../helpers/graft.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { servingWith } from "../helpers/serving.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LLAMA = modelDir("tiny-llama-genai-fp32");

function chat(url: string, body: object): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages: [{ role: "user", content: "turn on the light" }], ...body }),
  });
}

Deno.test("graft serve answers as graft run does, and finishes answers in work when it is stopped", async () => {
  const { child, url, stderr } = await servingWith({}, LLAMA, "-t", "1", "--alias", "lamp");
  const request = { max_tokens: 150, temperature: 0 };
  const answer = await (await chat(url, request)).json();
  const ran = await graft("run", LLAMA, "-n", "150", "--json", "-t", "1", "turn on the light");
  assertEquals(answer.choices[0].message.content, JSON.parse(ran.stdout).text);
  assertEquals(answer.model, "lamp");
  const inWork = await chat(url, { ...request, stream: true });
  child.kill("SIGTERM");
  assertStringIncludes(await inWork.text(), "data: [DONE]");
  assertEquals((await child.status).code, 0);
  const log = await stderr;
  assertStringIncludes(log, "POST /v1/chat/completions 200");
  assertStringIncludes(log, "Stopping: answers in work are finished");
});

Deno.test("graft serve ends answers that take longer than --drain, and is gone then", async () => {
  const { child, url, stderr } = await servingWith(
    {},
    LLAMA,
    "-t",
    "1",
    "--drain",
    "0.5",
    "--no-access-log",
  );
  const endless = Array.from({ length: 40 }, () => chat(url, { max_tokens: 200, n: 8, seed: 1 }));
  for (const request of endless) request.catch(() => {});
  await new Promise((done) => setTimeout(done, 300));
  const start = performance.now();
  child.kill("SIGTERM");
  assertEquals((await child.status).code, 0);
  assert(performance.now() - start < 3000);
  await Promise.allSettled(endless);
  assert(!(await stderr).includes("POST"));
});

Deno.test("graft serve needs a key for other machines, and takes flags from the environment", async () => {
  const open = await graft("serve", LLAMA, "--host", "0.0.0.0");
  assertEquals(open.code, 2);
  assertStringIncludes(open.stderr, "--api-key");
  await inTempDir(async (folder) => {
    const keys = `${folder}/keys`;
    Deno.writeTextFileSync(keys, "\n");
    const none = await graft("serve", LLAMA, "--api-key-file", keys);
    assertEquals(none.code, 65);
    assertStringIncludes(none.stderr, `${keys} has no keys`);
  });
  const bad = await graftWith({ GRAFT_ARG_CTX_SIZE: "0" }, "serve", LLAMA);
  assertEquals(bad.code, 2);
  assertStringIncludes(bad.stderr, "GRAFT_ARG_CTX_SIZE must be");
  const missing = await graftWith({ GRAFT_ARG_MODEL: "/none" }, "serve");
  assertEquals(missing.code, 65);
  assertStringIncludes(missing.stderr, "/none");
});

Deno.test("graft serve says so where its port is in use", async () => {
  using held = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { code, stderr } = await graft("serve", LLAMA, "--port", `${held.addr.port}`);
  assertEquals(code, 74);
  assertStringIncludes(stderr, `Cannot listen on 127.0.0.1 port ${held.addr.port}`);
});
