import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { RepositoryFolder } from "../../src/hub/cache.ts";
import { filesUnder, importModel } from "../../src/hub/import_local.ts";
import { FakeHub } from "../helpers/fake_hub.ts";
import { filesIn } from "../helpers/files_in.ts";
import { noise, TestCache } from "../helpers/hub_pull.ts";

/** What a power loss or a bad disk makes of a file. */
const DAMAGE: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  "cut short": (bytes) => bytes.slice(0, -1),
  "emptied": () => new Uint8Array(),
  "too long": (bytes) => new Uint8Array(bytes.length + 1),
  "zeros": (bytes) => new Uint8Array(bytes.length),
  "one byte flipped": (bytes) => bytes.with(bytes.length >> 1, bytes[bytes.length >> 1] ^ 1),
};

const FILES = { "config.json": "{}", "data/big.bin": noise(100_000), "model.bin": noise(5000, 2) };

async function withHub(body: (hub: FakeHub, cache: TestCache) => Promise<void>): Promise<void> {
  await using hub = new FakeHub();
  using cache = new TestCache(hub);
  hub.add("org/tiny", FILES);
  await body(hub, cache);
}

/** Damages what a snapshot's file leads to. */
function damage(path: string, how: (bytes: Uint8Array) => Uint8Array): void {
  Deno.writeFileSync(path, how(Deno.readFileSync(path)));
}

function assertWhole(folder: string): void {
  assertEquals(filesIn(folder), Object.keys(FILES));
  for (const [name, content] of Object.entries(FILES)) {
    const expected = typeof content === "string" ? new TextEncoder().encode(content) : content;
    assertEquals(Deno.readFileSync(join(folder, name)), expected, name);
  }
}

Deno.test("pull() mends a file of the cache that is damaged, and gets no other", async (t) => {
  for (const [name, how] of Object.entries(DAMAGE)) {
    await t.step(name, () =>
      withHub(async (hub, cache) => {
        const { folder } = await cache.pull();
        damage(join(folder, "data/big.bin"), how);
        hub.seen.length = 0;
        const again = await cache.pull();
        assertEquals(again.missingBytes, 100_000);
        assertEquals(hub.requestsTo("content").length, 1);
        assertWhole(folder);
      }));
  }
});

Deno.test("pull() to a folder mends a hidden file that an earlier run left damaged", () =>
  withHub(async (_, cache) => {
    const localDir = join(cache.root, "plain");
    const { files } = await cache.pull();
    const big = files.find(({ path }) => path === "data/big.bin")!;
    cache.write(
      join(localDir, ".cache/huggingface/download", big.digest.hex),
      new Uint8Array(100_000),
    );
    await cache.pull({ localDir });
    assertWhole(localDir);
  }));

Deno.test("importModel() mends a file of the cache that is damaged, moved or copied", async (t) => {
  for (const move of [false, true]) {
    for (const [name, how] of Object.entries(DAMAGE)) {
      await t.step(`${name}, ${move ? "moved" : "copied"}`, () =>
        withHub(async (_, cache) => {
          const take = () => {
            const source = join(cache.root, "source");
            for (const [path, content] of Object.entries(FILES)) {
              const bytes = typeof content === "string"
                ? new TextEncoder().encode(content)
                : content;
              cache.write(join(source, path), bytes);
            }
            return importModel(cache.path, "mine", source, filesUnder(source), { move });
          };
          const { folder } = await take();
          damage(join(folder, "data/big.bin"), how);
          await take();
          assertWhole(folder);
        }));
    }
  }
});

Deno.test("addSnapshot() goes on where a killed process left links of another commit", () =>
  withHub(async (_, cache) => {
    const place = new RepositoryFolder(cache.path, "org/tiny");
    cache.write(join(place.path, ".unfinished", "0".repeat(40), "a.json"), new Uint8Array());
    const { folder } = await cache.pull();
    assertWhole(folder);
    assert(!filesIn(place.path).some((path) => path.startsWith(".unfinished")));
  }));

Deno.test("refs() does not take what a killed process was writing for a branch", () =>
  withHub(async (_, cache) => {
    const { commit } = await cache.pull();
    const place = new RepositoryFolder(cache.path, "org/tiny");
    cache.write(place.ref(".unfinished-main"), new TextEncoder().encode(commit));
    assertEquals([...place.refs().keys()], ["main"]);
  }));
