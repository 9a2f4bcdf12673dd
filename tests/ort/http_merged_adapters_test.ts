import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { complete, loadLora as load } from "../helpers/adapter_requests.ts";
import {
  postJson,
  serveTiny,
  type TestServer,
  type TestServerOptions,
} from "../helpers/http_server.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LLAMA = "tiny-llama-genai-fp32";

/** A server that merges, with folders `a` and `b` of adapters. */
async function withServer(
  options: TestServerOptions,
  body: (server: TestServer, folder: string) => Promise<void>,
) {
  await inTempDir(async (folder) => {
    const targetModules = ["q_proj", "v_proj", "up_proj"];
    for (const [seed, name] of ["a", "b"].entries()) {
      saveRandomAdapter(`${folder}/${name}`, LLAMA, { seed: seed + 1, targetModules });
    }
    const given = { loraDir: folder, mergedDir: `${folder}/merged`, parallel: 2, ...options };
    await using server = await serveTiny(LLAMA, given);
    await body(server, folder);
    assertEquals(server.failures, []);
  });
}

interface Listed {
  readonly name: string;
  readonly way: string;
  readonly adapter_generation: number;
  readonly merge: { readonly state: string; readonly error: string | null } | null;
  readonly ms_per_token: { readonly bound: number; readonly merged: number } | null;
}

async function listed(server: TestServer, name: string): Promise<Listed> {
  const all: Listed[] = await (await fetch(`${server.url}/lora-adapters`)).json();
  return all.find((one) => one.name === name)!;
}

/** The adapter once its merge has ended. */
async function merged(server: TestServer, name: string): Promise<Listed> {
  for (;;) {
    const one = await listed(server, name);
    if (one.merge?.state !== "running") return one;
    await new Promise((wait) => setTimeout(wait, 20));
  }
}

Deno.test("graft's API: an adapter answers bound at once, and merged once that is made, with the same texts", async () => {
  await withServer({ loraWay: "merged" }, async (server) => {
    const base = await complete(server, LLAMA);
    const { status, json } = await load(server, "lamp", "a");
    assertEquals([status, json.status, json.adapter_generation], [200, "loaded", 1]);
    const bound = await complete(server, "lamp");
    assertEquals(bound.generation, 1);
    const { way, adapter_generation, ms_per_token } = await merged(server, "lamp");
    assertEquals([way, adapter_generation], ["merged", 2]);
    assert(ms_per_token!.bound > 0 && ms_per_token!.merged > 0);
    assertEquals(await complete(server, "lamp"), { text: bound.text, generation: 2 });
    assertEquals((await complete(server, LLAMA)).text, base.text);
    // A mix is of the base, whatever the name stands for.
    assertEquals((await complete(server, "lamp", { lora: [{ id: 0, scale: 0 }] })).text, base.text);
    assertEquals((await complete(server, LLAMA, { lora: [{ id: 0, scale: 1 }] })).text, bound.text);
  });
});

Deno.test("graft's API: A → B → A with merges gives the same texts, and requests in work keep what they began with", async () => {
  await withServer({ loraWay: "merged" }, async (server, folder) => {
    await load(server, "lamp", "a");
    const texts = new Map<number, string>();
    const ask = async () => {
      const { text, generation } = await complete(server, "lamp");
      assertEquals(texts.get(generation!) ?? text, text);
      texts.set(generation!, text);
    };
    let swapping = true;
    const clients = Array.from({ length: 3 }, async () => {
      let answers = 0;
      for (; swapping; answers++) await ask();
      return answers;
    });
    clients.forEach((client) => client.catch(() => {}));
    for (const path of ["a", "b", "a"]) {
      await load(server, "lamp", path, { load_inplace: true });
      assertEquals((await merged(server, "lamp")).way, "merged");
      await ask();
    }
    swapping = false;
    assert((await Promise.all(clients)).every((answers) => answers > 0));
    const last = server.adapters!.get("lamp")!.generation;
    assertEquals(texts.get(last), texts.get(last - 4));
    assertNotEquals(texts.get(last), texts.get(last - 2));
    // One folder for each adapter: the second merge of A was the first one's.
    const folders = [...Deno.readDirSync(`${folder}/merged`)];
    assertEquals(folders.length, 2);
  });
});

Deno.test("graft's API: a merged adapter rolls back, and is gone when it is unloaded", async () => {
  await withServer({ loraWay: "merged" }, async (server) => {
    await load(server, "lamp", "a");
    await merged(server, "lamp");
    const a = await complete(server, "lamp");
    await load(server, "lamp", "b", { load_inplace: true });
    await merged(server, "lamp");
    assertNotEquals((await complete(server, "lamp")).text, a.text);
    const name = { lora_name: "lamp" };
    assertEquals((await postJson(`${server.url}/v1/rollback_lora_adapter`, name)).status, 200);
    assertEquals((await complete(server, "lamp")).text, a.text);
    assertEquals((await merged(server, "lamp")).way, "merged");
    assertEquals((await complete(server, "lamp")).text, a.text);
    await load(server, "other", "b");
    // Unloaded while it is merged.
    assertEquals(
      (await postJson(`${server.url}/v1/unload_lora_adapter`, { lora_name: "other" })).status,
      200,
    );
    assertEquals((await postJson(`${server.url}/v1/unload_lora_adapter`, name)).status, 200);
    const gone = await postJson(`${server.url}/v1/completions`, { model: "lamp", prompt: "a" });
    assertEquals(gone.status, 404);
    assertEquals(server.adapters!.entries(), []);
  });
});

Deno.test("graft's API: merged models have a limit: the oldest answers bound again", async () => {
  await withServer({ loraWay: "merged", maxMerged: 1 }, async (server) => {
    await load(server, "one", "a");
    await merged(server, "one");
    const before = await complete(server, "one");
    await load(server, "two", "b");
    assertEquals((await merged(server, "two")).way, "merged");
    assertEquals((await listed(server, "one")).way, "bound");
    const after = await complete(server, "one");
    assertEquals(after.text, before.text);
    assertEquals(after.generation! > before.generation!, true);
  });
});

Deno.test("graft's API: the faster way is chosen by its times, and a failed merge leaves an adapter bound", async () => {
  await withServer({ loraWay: "auto" }, async (server, folder) => {
    await load(server, "lamp", "a");
    const { way, merge, ms_per_token: times } = await merged(server, "lamp");
    const isFaster = times!.merged < 0.97 * times!.bound;
    assertEquals([way, merge!.state], isFaster ? ["merged", "done"] : ["bound", "declined"]);
    await complete(server, "lamp");
    // What is in the way of the merge is no folder.
    await load(server, "other", "b", { way: "bound" });
    assertEquals((await listed(server, "other")).merge, null);
    Deno.removeSync(`${folder}/merged`, { recursive: true });
    Deno.writeTextFileSync(`${folder}/merged`, "");
    await load(server, "other", "b", { load_inplace: true });
    const failed = await merged(server, "other");
    assertEquals([failed.way, failed.merge!.state], ["bound", "failed"]);
    assert(failed.merge!.error!.length > 0);
    await complete(server, "other");
  });
});

Deno.test("graft's API: an adapter that can only be merged answers once it is, and is refused where nothing merges", async () => {
  await withServer({ loraWay: "auto", targetModules: ["q_proj"] }, async (server) => {
    const { status, json } = await load(server, "lamp", "a");
    assertEquals([status, json.status], [202, "merging"]);
    const early = await postJson(`${server.url}/v1/completions`, { model: "lamp", prompt: "a" });
    if (early.status !== 200) {
      assertEquals(early.status, 503);
      assertEquals(early.headers.get("retry-after"), "5");
    }
    assertEquals((await merged(server, "lamp")).way, "merged");
    assertNotEquals((await complete(server, "lamp")).text, (await complete(server, LLAMA)).text);
    const mixed = await postJson(`${server.url}/lora-adapters`, [{ id: 0, scale: 1 }]);
    assertEquals(mixed.status, 400);
    const second = await load(server, "more", "b");
    assertEquals(second.status, 400);
    const bound = await load(server, "lamp", "b", { load_inplace: true, way: "bound" });
    assertEquals(bound.status, 400);
    assertEquals((await listed(server, "lamp")).way, "merged");
  });
});
