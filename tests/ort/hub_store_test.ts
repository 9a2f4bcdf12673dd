import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { BadInputError, InterruptedError, RefusedError, UsageError } from "../../src/errors.ts";
import { lastMetrics } from "../../src/model/store_adapter.ts";
import type { AdapterFacts } from "../../src/hub/adapter_record.ts";
import { adapterDigest, AdapterStore } from "../../src/hub/adapter_store.ts";
import { RepositoryFolder } from "../../src/hub/cache.ts";
import { filesUnder, importModel } from "../../src/hub/import_local.ts";
import { installedIn } from "../../src/hub/installed.ts";
import { findSnapshot } from "../../src/hub/pulled.ts";
import { removeSnapshot } from "../../src/hub/remove.ts";
import { graftHome, hubCache, hubSettings } from "../../src/hub/settings.ts";
import { shareDirectory, tryLock } from "../../src/system/file_lock.ts";
import { FakeHub, sha256 } from "../helpers/fake_hub.ts";
import { filesIn } from "../helpers/files_in.ts";
import { noise, TestCache } from "../helpers/hub_pull.ts";

async function withTwoRevisions(
  body: (cache: TestCache, place: RepositoryFolder, commits: string[]) => void | Promise<void>,
): Promise<void> {
  await using hub = new FakeHub();
  using cache = new TestCache(hub);
  const shared = noise(5000);
  const old = hub.add("org/tiny", { "a.json": "{}", "shared.bin": shared, "old.bin": noise(2000) });
  await cache.pull();
  const now = hub.add("org/tiny", { "a.json": "[]", "shared.bin": shared, "new.bin": noise(3000) });
  await cache.pull();
  await body(cache, new RepositoryFolder(cache.path, "org/tiny"), [old, now]);
}

Deno.test("removeSnapshot() removes what no other revision uses, and the refs to it", () =>
  withTwoRevisions((cache, place, [old, now]) => {
    assertEquals(removeSnapshot(place, old), { sizeBytes: 2002, blobs: 2 });
    assertEquals(place.commits(), [now]);
    assertEquals(filesIn(join(place.path, "blobs")).length, 3);
    assertEquals(place.files(now), ["a.json", "new.bin", "shared.bin"]);
    assertEquals(place.refs(), new Map([["main", now]]));
    removeSnapshot(place, now);
    assertEquals(installedIn(cache.path), []);
    assertEquals(filesIn(place.path), []);
  }));

Deno.test("removeSnapshot() spares what a process uses, pulls or writes", () =>
  withTwoRevisions((_, place, [old, now]) => {
    {
      using _use = shareDirectory(place.snapshot(old));
      assertThrows(() => removeSnapshot(place, old), RefusedError, "a process uses it");
      using _pull = shareDirectory(place.path);
      assertThrows(() => removeSnapshot(place, now), RefusedError, "being pulled");
    }
    {
      using _lock = tryLock(place.lock(sha256(noise(3000))));
      assertThrows(() => removeSnapshot(place, now), RefusedError, "is writing");
    }
    assertEquals(place.files(old).length, 3);
    assertEquals(place.files(now).length, 3);
    removeSnapshot(place, now);
  }));

Deno.test("findSnapshot() takes branches, commits and their beginnings, and lists what there is", () =>
  withTwoRevisions((cache, _, [old, now]) => {
    const find = (revision?: string) =>
      findSnapshot(cache.path, { repository: "org/tiny", revision })?.commit;
    assertEquals([find(), find("main"), find(old), find(old.slice(0, 8))], [now, now, old, old]);
    assertThrows(() => find("v2"), UsageError, "main");
    assertEquals(findSnapshot(cache.path, { repository: "org/other" }), undefined);
  }));

Deno.test("importModel() keeps a folder's files, and a hub's name for the hub", async () => {
  await using hub = new FakeHub();
  using cache = new TestCache(hub);
  const folder = join(cache.root, "mine");
  cache.write(join(folder, "model.onnx"), noise(2000));
  cache.write(join(folder, ".hidden"), noise(10));
  const take = (name: string) =>
    importModel(cache.path, name, folder, filesUnder(folder), { move: false });
  const made = await take("mine");
  assertEquals(filesIn(made.folder), ["model.onnx"]);
  assertEquals(await take("mine"), made);
  assertEquals(installedIn(cache.path)[0].refs, ["local", "main"]);

  hub.add("org/tiny", { "a.json": "{}" });
  await cache.pull();
  await assertRejects(() => take("org/tiny"), UsageError, "from a hub");

  Deno.symlinkSync("/etc/passwd", join(folder, "link.json"));
  assertThrows(() => filesUnder(folder), BadInputError, "a link");
});

Deno.test("importModel() ends by a signal while it reads, and shows nothing", async () => {
  await using hub = new FakeHub();
  using cache = new TestCache(hub);
  const folder = join(cache.root, "mine");
  // Takes a second to read, and no place on the disk.
  cache.write(join(folder, "model.onnx"), new Uint8Array());
  Deno.truncateSync(join(folder, "model.onnx"), 1 << 30);
  const stop = new AbortController();
  setTimeout(() => stop.abort(new InterruptedError("Stopped")), 0);
  await assertRejects(
    () =>
      importModel(cache.path, "mine", folder, filesUnder(folder), {
        move: true,
        signal: stop.signal,
      }),
    InterruptedError,
  );
  assertEquals(installedIn(cache.path), []);
});

const FACTS: AdapterFacts = {
  base_digest: "sha256:1",
  base: "org/tiny",
  task: "causal",
  data_digest: "sha256:2",
  parents: ["sha256:3"],
  metrics: { step: 4, loss: 1.5 },
};

const filesOf = (text: string) => new Map([["a.json", new TextEncoder().encode(text)]]);

function withStore(body: (store: AdapterStore) => void): void {
  const root = Deno.makeTempDirSync({ prefix: "graft-store-" });
  try {
    body(new AdapterStore(join(root, "adapters")));
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
}

Deno.test("AdapterStore keeps an adapter under its content's digest, with its record", () =>
  withStore((store) => {
    assertEquals(store.list(), []);
    const { folder, record } = store.add("team/mill", filesOf("1"), FACTS);
    assertEquals(record.digest, adapterDigest(filesOf("1")));
    assert(folder.endsWith(record.digest.slice("sha256:".length)));
    assertEquals({ ...record, ...FACTS }, record);
    assertEquals(store.add("again", filesOf("1"), FACTS).folder, folder);
    assertEquals(store.list().map(({ name }) => name), ["again", "team/mill"]);
    assertThrows(() => store.add("../mill", filesOf("1"), FACTS), UsageError, '"../mill"');
  }));

Deno.test("AdapterStore moves names, and removes an adapter with its last one", () =>
  withStore((store) => {
    const first = store.add("mill", filesOf("1"), FACTS);
    store.add("kept", filesOf("1"), FACTS);
    const second = store.add("mill", filesOf("2"), FACTS);
    assertEquals(store.find("kept")?.folder, first.folder);
    store.remove(store.find("kept")!);
    assertThrows(() => Deno.statSync(first.folder), Deno.errors.NotFound);
    {
      using _use = shareDirectory(second.folder);
      assertThrows(() => store.remove(second), RefusedError, "a process uses it");
    }
    store.remove(second);
    assertEquals(filesIn(store.root), []);
  }));

Deno.test("adapterDigest() does not depend on the order of files", () => {
  const [a, b] = [new Uint8Array([1]), new Uint8Array([2])];
  assertEquals(
    adapterDigest(new Map([["a", a], ["b", b]])),
    adapterDigest(new Map([["b", b], ["a", a]])),
  );
  assert(
    adapterDigest(new Map([["a", a], ["b", b]])) !== adapterDigest(new Map([["a", b], ["b", a]])),
  );
});

Deno.test("lastMetrics() takes the last figure of each kind, and no line that is cut short", () => {
  const text =
    '{"step":1,"loss":3}\n{"step":1,"val_loss":2}\n{"step":2,"loss":1,"x":"y"}\n{"loss":';
  assertEquals(lastMetrics(text), { step: 2, loss: 1, val_loss: 2 });
  assertEquals(lastMetrics(undefined), {});
});

Deno.test("hubSettings() reads the variables of Hugging Face's tools", () => {
  const read = (variables: Record<string, string>) => (name: string) => variables[name];
  const home = Deno.makeTempDirSync({ prefix: "graft-home-" });
  try {
    assertEquals(hubCache(read({ HOME: home })), `${home}/.cache/huggingface/hub`);
    assertEquals(hubCache(read({ XDG_CACHE_HOME: "/x", HOME: home })), "/x/huggingface/hub");
    assertEquals(hubCache(read({ HF_HOME: "~/hf", HOME: home })), `${home}/hf/hub`);
    assertEquals(hubCache(read({ HF_HUB_CACHE: "/c", HF_HOME: "/h" })), "/c");
    assertEquals(graftHome(read({ HOME: home })), `${home}/.local/share/graft`);
    assertEquals(graftHome(read({ XDG_DATA_HOME: "/d", HOME: home })), "/d/graft");
    assertEquals(graftHome(read({ GRAFT_HOME: "/g" })), "/g");
    assertThrows(() => hubCache(read({})), UsageError, "HF_HOME");

    const settings = (variables: Record<string, string>) =>
      hubSettings(read({ HOME: home, ...variables }));
    assertEquals(settings({}).endpoint, "https://huggingface.co");
    assertEquals(settings({}).token, undefined);
    assertEquals(settings({ HF_ENDPOINT: "http://h:1/x/" }).endpoint, "http://h:1/x");
    assertEquals(settings({ HF_HUB_OFFLINE: "1" }).offline, true);
    assertEquals(settings({ HF_HUB_DOWNLOAD_TIMEOUT: "7" }).timeoutMs, 7000);
    Deno.writeTextFileSync(join(home, "token"), "hf_file\n");
    assertEquals(settings({ HF_HOME: home }).token, "hf_file");
    assertEquals(settings({ HF_HOME: home, HF_TOKEN: "hf_env" }).token, "hf_env");
  } finally {
    Deno.removeSync(home, { recursive: true });
  }
});

Deno.test("hubSettings() refuses wrong values without printing secrets", () => {
  const refuse = (variables: Record<string, string>) =>
    assertThrows(() => hubSettings((name) => ({ HOME: "/x", ...variables })[name]), UsageError);
  const secrets: readonly Record<string, string>[] = [
    { HF_ENDPOINT: "https://me:secret@h" },
    { HF_ENDPOINT: "ftp://secret" },
    { HF_TOKEN: "secret token" },
    { HF_TOKEN: "secret\ntoken" },
  ];
  for (const variables of secrets) assert(!refuse(variables).message.includes("secret"));
  assert(refuse({ HF_HUB_DOWNLOAD_TIMEOUT: "x" }).message.includes('"x"'));
});
