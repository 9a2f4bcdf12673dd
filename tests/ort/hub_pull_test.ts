import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import {
  AccessError,
  BadInputError,
  HubError,
  InterruptedError,
  StorageError,
  UsageError,
} from "../../src/errors.ts";
import {
  cutResponse,
  FakeHub,
  oidOf,
  type SeenRequest,
  sha256,
  stalledResponse,
} from "../helpers/fake_hub.ts";
import { freePort } from "../helpers/free_port.ts";
import { filesIn } from "../helpers/files_in.ts";
import { noise, TestCache } from "../helpers/hub_pull.ts";

const BIG = noise(100_000);
const CONFIG = '{"a": 1}';
const CONFIG_BYTES = new TextEncoder().encode(CONFIG);
/** Small pieces, so that a test's file has several. */
const PIECES = { pieceBytes: 16_000, connections: 3 };
const isContent = ({ host, path }: SeenRequest) => host === "content" && path.endsWith("big.bin");

async function withHub(
  body: (hub: FakeHub, cache: TestCache) => Promise<void>,
): Promise<void> {
  await using hub = new FakeHub();
  using cache = new TestCache(hub);
  hub.add("org/tiny", { "config.json": CONFIG, "data/big.bin": BIG });
  await body(hub, cache);
}

Deno.test("pull() writes blobs, a snapshot and a ref, and gets nothing twice", () =>
  withHub(async (hub, cache) => {
    const first = await cache.pull();
    const commit = hub.repositories.get("org/tiny")!.refs.main;
    const place = join(cache.path, "models--org--tiny");
    assertEquals(first.folder, join(place, "snapshots", commit));
    assertEquals(Deno.readTextFileSync(join(place, "refs/main")), commit);
    assertEquals(Deno.readFileSync(join(first.folder, "data/big.bin")), BIG);
    assertEquals(
      Deno.readLinkSync(join(first.folder, "data/big.bin")),
      `../../../blobs/${sha256(BIG)}`,
    );
    assertEquals(
      filesIn(join(place, "blobs")),
      [
        sha256(BIG),
        oidOf(new TextEncoder().encode(CONFIG)),
      ].sort(),
    );
    hub.seen.length = 0;
    assertEquals((await cache.pull()).missingBytes, 0);
    assert(hub.seen.every(({ path }) => path.startsWith("/api/")), JSON.stringify(hub.seen));
  }));

Deno.test("pull() shares blobs between revisions and keeps both snapshots", () =>
  withHub(async (hub, cache) => {
    await cache.pull();
    hub.add("org/tiny", { "config.json": '{"a": 2}', "data/big.bin": BIG });
    hub.seen.length = 0;
    await cache.pull();
    assertEquals(hub.seen.filter(isContent), []);
    assertEquals(cache.visible.length, 4);
  }));

Deno.test("pull() resumes after a cut at any of 20 offsets, and shows nothing before", async (t) => {
  let resumed = 0;
  for (let i = 0; i < 20; i++) {
    const offset = Math.floor(i * BIG.length / 20);
    await t.step(`cut at ${offset}`, () =>
      withHub(async (hub, cache) => {
        // The connection is cut, and after that the hub is gone.
        hub.fault = (request, content) =>
          !isContent(request)
            ? undefined
            : content!.start === 0
            ? cutResponse(content!.body, offset, { status: 200 })
            : new Response("gone", { status: 503 });
        await assertRejects(() => cache.pull(), HubError, "what was downloaded is kept");
        assertEquals(cache.visible, []);
        const kept = cache.partialBytes;
        assert(kept <= offset, `${kept} of ${offset}`);
        if (kept > 0) resumed++;

        hub.fault = () => undefined;
        hub.seen.length = 0;
        const { folder } = await cache.pull();
        assertEquals(Deno.readFileSync(join(folder, "data/big.bin")), BIG);
        const { range } = hub.seen.find(isContent)!;
        assertEquals(range, kept === 0 ? null : `bytes=${kept}-${BIG.length - 1}`);
        assertEquals(cache.partialBytes, 0);
      }));
  }
  assert(resumed > 10, `only ${resumed} of 20 kept anything`);
});

Deno.test("pull() goes on by itself where a connection is cut once", () =>
  withHub(async (hub, cache) => {
    let cuts = 0;
    hub.fault = (request, content) =>
      isContent(request) && cuts++ === 0
        ? cutResponse(content!.body, 60_000, { status: 200 })
        : undefined;
    const { folder } = await cache.pull();
    assertEquals(Deno.readFileSync(join(folder, "data/big.bin")), BIG);
    const [, second] = hub.seen.filter(isContent);
    assert(/^bytes=[1-9]\d*-99999$/.test(second.range!), second.range ?? "");
  }));

Deno.test("pull() gets pieces of a large file at once, and mends cuts in each", () =>
  withHub(async (hub, cache) => {
    let [open, most] = [0, 0];
    const cut = new Set<number>();
    hub.fault = async (request, content) => {
      if (!isContent(request)) return undefined as never;
      most = Math.max(most, ++open);
      // Each stays long enough to be counted, the first for each other, however slow the machine.
      for (let turn = 0; turn === 0 || turn < 100 && most < PIECES.connections; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      open--;
      const { start, body } = content!;
      if (start % PIECES.pieceBytes !== 0 || cut.has(start)) return undefined as never;
      cut.add(start);
      return cutResponse(body, 1000, {
        status: 206,
        headers: { "content-range": `bytes ${start}-${start + body.length - 1}/${BIG.length}` },
      });
    };
    const { folder } = await cache.pull({ pieces: PIECES });
    assertEquals(Deno.readFileSync(join(folder, "data/big.bin")), BIG);
    assertEquals(cut.size, Math.ceil(BIG.length / PIECES.pieceBytes));
    assertEquals(most, PIECES.connections);
  }));

Deno.test("pull() takes a whole file where a server gives no ranges", () =>
  withHub(async (hub, cache) => {
    let first = true;
    hub.fault = (request) => {
      if (!isContent(request)) return undefined;
      const cut = first;
      first = false;
      return cut ? cutResponse(BIG, 40_000, { status: 200 }) : new Response(BIG);
    };
    const { folder } = await cache.pull({ pieces: PIECES });
    assertEquals(Deno.readFileSync(join(folder, "data/big.bin")), BIG);
    assertEquals(hub.seen.filter(isContent).length, 2);
  }));

Deno.test("pull() refuses a byte flipped at any of 20 offsets, keeps nothing, and names both digests", () =>
  withHub(async (hub, cache) => {
    for (let i = 0; i < 20; i++) {
      const flipped = BIG.slice();
      flipped[Math.floor(i * BIG.length / 20)] ^= 1 << i % 8;
      hub.fault = (request) => isContent(request) ? hub.served(flipped, request.range) : undefined;
      hub.seen.length = 0;
      const error = await assertRejects(() => cache.pull(), BadInputError, "data/big.bin");
      assertStringIncludes(error.message, sha256(BIG));
      assertStringIncludes(error.message, sha256(flipped));
      assertEquals(cache.visible, []);
      assertEquals(cache.partialBytes, 0);
      assertEquals(hub.seen.filter(isContent).length, 2);
    }
  }));

Deno.test("pull() refuses a small file with another digest than Git's", () =>
  withHub(async (hub, cache) => {
    hub.fault = ({ path }) => path.endsWith("config.json") ? new Response('{"a": 7}') : undefined;
    await assertRejects(() => cache.pull(), BadInputError, "Git's SHA-1");
    assertEquals(cache.visible, []);
  }));

Deno.test("pull() starts anew where the bytes of an earlier run are bad or too many", async (t) => {
  for (const size of [30_000, 130_000]) {
    await t.step(`${size} bytes`, () =>
      withHub(async (_, cache) => {
        const blobs = join(cache.path, "models--org--tiny/blobs");
        cache.write(join(blobs, `${sha256(BIG)}.incomplete`), noise(size, 7));
        const { folder } = await cache.pull();
        assertEquals(Deno.readFileSync(join(folder, "data/big.bin")), BIG);
        assertEquals(cache.partialBytes, 0);
      }));
  }
});

Deno.test("pull() refuses a hub that gives two digests, or none", async (t) => {
  await t.step("another in x-linked-etag", () =>
    withHub(async (hub, cache) => {
      hub.fault = ({ host, path }) =>
        host === "hub" && path.endsWith("big.bin")
          ? new Response(null, {
            status: 302,
            headers: {
              location: hub.contentOrigin + path,
              "x-linked-etag": `"${sha256(CONFIG_BYTES)}"`,
            },
          })
          : undefined;
      await assertRejects(() => cache.pull(), BadInputError, "contradicts itself");
    }));
  await t.step("none in the listing", () =>
    withHub(async (hub, cache) => {
      hub.listed = (entry) => ({ ...entry, lfs: { size: 5 }, oid: "x" });
      await assertRejects(() => cache.pull(), HubError, "no digest");
    }));
});

Deno.test("pull() refuses file names of the hub that leave their folder", async (t) => {
  for (const path of ["../x", "/etc/x", "a/../../x", "a\\b", "a\0b"]) {
    await t.step(JSON.stringify(path), () =>
      withHub(async (hub, cache) => {
        hub.listed = (entry) => ({ ...entry, path });
        await assertRejects(() => cache.pull(), BadInputError, "refused the file");
        assertEquals(filesIn(cache.root), []);
      }));
  }
});

Deno.test("pull() reads listings of several pages, and none from another host", () =>
  withHub(async (hub, cache) => {
    hub.pageFiles = 1;
    assertEquals((await cache.pull()).files.length, 2);
    hub.fault = ({ path }) =>
      path.includes("/tree/")
        ? Response.json([], { headers: { link: `<${hub.contentOrigin}/x>; rel="next"` } })
        : undefined;
    await assertRejects(() => cache.pull(), HubError, "another host");
  }));

Deno.test("pull() sends the token to the hub alone, and connects nowhere that it did not name", () =>
  withHub(async (hub, cache) => {
    hub.token = "hf_secret";
    await cache.pull({ pieces: PIECES }, { token: "hf_secret" });
    const elsewhere = hub.requestsTo("content");
    assert(elsewhere.length > 1);
    assertEquals(elsewhere.filter(({ authorization }) => authorization !== null), []);
    assert(
      hub.requestsTo("hub").every(({ authorization }) => authorization === "Bearer hf_secret"),
    );
  }));

Deno.test("pull() follows no redirect of the hub's answers to another host", () =>
  withHub(async (hub, cache) => {
    hub.fault = ({ host, path }) =>
      host === "hub" ? Response.redirect(`${hub.contentOrigin}${path}`, 302) : undefined;
    await assertRejects(() => cache.pull({}, { token: "hf_secret" }), HubError, "another host");
    assertEquals(hub.requestsTo("content"), []);
  }));

Deno.test("pull() ends redirects in a circle, and those to other schemes", () =>
  withHub(async (hub, cache) => {
    hub.fault = ({ host, path }) =>
      host === "content" ? Response.redirect(`${hub.contentOrigin}${path}`, 302) : undefined;
    await assertRejects(() => cache.pull(), HubError, "redirects more than");
    hub.fault = ({ path }) =>
      path.endsWith("big.bin")
        ? new Response(null, { status: 302, headers: { location: "file:///etc/passwd" } })
        : undefined;
    await assertRejects(() => cache.pull(), HubError, "invalid web address");
  }));

Deno.test("pull() asks the hub again where a signed address has expired", () =>
  withHub(async (hub, cache) => {
    let answered = 0;
    hub.fault = (request) =>
      isContent(request) && ++answered === 3 ? new Response("expired", { status: 403 }) : undefined;
    const { folder } = await cache.pull({ pieces: PIECES });
    assertEquals(Deno.readFileSync(join(folder, "data/big.bin")), BIG);
    const asked = hub.requestsTo("hub").filter(({ path }) => path.endsWith("big.bin"));
    assert(asked.length >= 2, String(asked.length));
  }));

Deno.test("pull() says what gives access: 401, 403 of a gated model, 404", async (t) => {
  const answers: [string, number, string, string, new (m: string) => Error][] = [
    ["no token", 401, "RepoNotFound", "set HF_TOKEN", AccessError],
    ["gated", 403, "GatedRepo", "accept its terms", AccessError],
    ["forbidden", 403, "", "access is refused", AccessError],
    ["no model", 404, "RepoNotFound", "check its name", BadInputError],
    ["no revision", 404, "RevisionNotFound", "check revision", BadInputError],
    ["no such page", 410, "", "answers 410", HubError],
  ];
  for (const [name, status, code, words, type] of answers) {
    await t.step(name, () =>
      withHub(async (hub, cache) => {
        hub.fault = () => new Response("", { status, headers: { "x-error-code": code } });
        const error = await assertRejects(() => cache.pull(), type, words);
        assertStringIncludes(error.message, `${hub.endpoint}/api/models/org/tiny/revision/main`);
        assertEquals(cache.pausesMs, []);
        assertEquals(hub.seen.length, 1);
      }));
  }
  await t.step("a token without access is not printed", () =>
    withHub(async (hub, cache) => {
      hub.token = "hf_right";
      const error = await assertRejects(
        () => cache.pull({}, { token: "hf_wrong" }),
        AccessError,
        "does not give access",
      );
      assert(!error.message.includes("hf_"), error.message);
    }));
});

Deno.test("pull() waits as long as 429 says, and not for hours", () =>
  withHub(async (hub, cache) => {
    let times = 0;
    const busy = (seconds: string) => () =>
      times++ < 2
        ? new Response("", { status: 429, headers: { "retry-after": seconds } })
        : undefined;
    hub.fault = busy("3");
    await cache.pull();
    assertEquals(cache.pausesMs, [3000, 3000]);

    times = 0;
    hub.fault = busy("3600");
    await assertRejects(() => cache.pull(), HubError, "3600 s");
    assertEquals(cache.pausesMs.length, 2);
  }));

Deno.test("pull() tries again after 5xx, longer apart each time, and gives up", () =>
  withHub(async (hub, cache) => {
    hub.fault = () => new Response("", { status: 502 });
    await assertRejects(() => cache.pull(), HubError, "answers 502; tried 6 times");
    assertEquals(cache.pausesMs, [500, 1000, 2000, 4000, 8000]);
    assertEquals(hub.seen.length, 6);
  }));

Deno.test("pull() does not wait for a silent connection, and does not print a signature", () =>
  withHub(async (hub, cache) => {
    hub.fault = (request, content) =>
      isContent(request) ? stalledResponse(content!.body, request.range ? 0 : 20_000) : undefined;
    const error = await assertRejects(
      () => cache.pull({}, { timeoutMs: 150 }),
      HubError,
      "said nothing for 0.15 s",
    );
    assert(!error.message.includes("secret"), error.message);
    assertEquals(cache.partialBytes, 20_000);
    assertEquals(cache.visible, []);
  }));

Deno.test("pull() says where a hub cannot be reached", () =>
  withHub(async (_, cache) => {
    const endpoint = `http://127.0.0.1:${freePort()}`;
    const error = await assertRejects(() => cache.pull({}, { endpoint }), HubError, "HF_ENDPOINT");
    assertStringIncludes(error.message, `${endpoint}/api/models/org/tiny`);
    assertStringIncludes(error.message, "refused");
  }));

Deno.test("pull() refuses what does not fit before it gets anything", () =>
  withHub(async (hub, cache) => {
    const error = await assertRejects(
      () => cache.pull({ freeBytes: () => 64 << 20 }),
      StorageError,
      "has no room",
    );
    assertStringIncludes(error.message, cache.path);
    assertEquals(hub.seen.filter(isContent), []);
  }));

Deno.test("pull() names the file where the disk fills on the way", () =>
  withHub(async (_, cache) => {
    const partial = join(
      cache.path,
      "models--org--tiny/blobs",
      `${sha256(BIG)}.incomplete`,
    );
    Deno.mkdirSync(join(partial, ".."), { recursive: true });
    Deno.symlinkSync("/dev/full", partial);
    await assertRejects(() => cache.pull(), StorageError, partial);
    assertEquals(cache.visible, []);
  }));

Deno.test("pull() ends by a signal, and the next goes on from there", () =>
  withHub(async (hub, cache) => {
    const stop = new AbortController();
    hub.fault = (request, content) =>
      isContent(request) ? stalledResponse(content!.body, 20_000) : undefined;
    await assertRejects(
      () =>
        cache.pull({
          signal: stop.signal,
          onBytes: ({ path }, done) => {
            if (path.endsWith("big.bin") && done === 20_000) {
              stop.abort(new InterruptedError("Stopped"));
            }
          },
        }),
      InterruptedError,
    );
    assertEquals([cache.partialBytes, cache.visible.length], [20_000, 0]);
    hub.fault = () => undefined;
    hub.seen.length = 0;
    await cache.pull();
    assertEquals(hub.seen.find(isContent)?.range, "bytes=20000-99999");
    assertEquals(cache.visible.length, 2);
  }));

Deno.test("pull() of one model twice at once gets each file once", () =>
  withHub(async (hub, cache) => {
    hub.fault = async (request) => {
      if (isContent(request)) await new Promise((resolve) => setTimeout(resolve, 200));
      return undefined as never;
    };
    const waited: string[] = [];
    const onWait = ({ path }: { path: string }) => void waited.push(path);
    const [first, second] = await Promise.all([cache.pull({ onWait }), cache.pull({ onWait })]);
    assertEquals(first.folder, second.folder);
    assertEquals(hub.seen.filter(isContent).length, 1);
    assert(waited.includes("data/big.bin"), String(waited));
    assertEquals(cache.visible.length, 2);
  }));

Deno.test("pull() writes plain files to a folder, and gets none that is there", () =>
  withHub(async (hub, cache) => {
    const localDir = join(cache.root, "plain");
    await cache.pull({ localDir });
    assertEquals(filesIn(localDir), ["config.json", "data/big.bin"]);
    assert(Deno.lstatSync(join(localDir, "data/big.bin")).isFile);
    hub.seen.length = 0;
    await cache.pull({ localDir });
    assertEquals(hub.seen.filter(isContent), []);
    Deno.writeTextFileSync(join(localDir, "config.json"), '{"a": 5}');
    await cache.pull({ localDir });
    assertEquals(Deno.readTextFileSync(join(localDir, "config.json")), CONFIG);
  }));

Deno.test("pull() says which variants there are where one is not", () =>
  withHub(async (hub, cache) => {
    hub.add("org/tiny", { "onnx/model_int8.onnx": BIG });
    await assertRejects(
      () => cache.pull({ include: [], variant: "q4" }),
      UsageError,
      'no variant "q4"; it has int8',
    );
  }));

Deno.test("pull() shows no model that cannot be read, or whose data is missing", () =>
  withHub(async (hub, cache) => {
    hub.add("org/tiny", { "model.onnx": BIG });
    await assertRejects(() => cache.pull({ include: [] }), BadInputError, "model.onnx");
    assertEquals(cache.visible, []);
    const dir = new URL("../fixtures/models/tiny-llama-genai-int4/", import.meta.url);
    hub.add("org/tiny", { "model.onnx": Deno.readFileSync(new URL("model.onnx", dir)) });
    await assertRejects(() => cache.pull({ include: [] }), BadInputError, "model.onnx.data");
    assertEquals(cache.visible, []);
  }));

Deno.test("pull() gets data files that only the model itself names", () =>
  withHub(async (hub, cache) => {
    const dir = new URL("../fixtures/models/tiny-llama-genai-int4/", import.meta.url);
    // The data's name is not the model's.
    hub.add("org/tiny", {
      "onnx/model_q4.onnx": Deno.readFileSync(new URL("model.onnx", dir)),
      "onnx/model.onnx.data": Deno.readFileSync(new URL("model.onnx.data", dir)),
    });
    await cache.pull({ include: [] });
    assert(cache.visible.some((path) => path.endsWith("onnx/model.onnx.data")));
  }));
