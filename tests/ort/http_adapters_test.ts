import { assert, assertEquals } from "@std/assert";
import { exportAdapters } from "../../src/tasks/export.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { complete, loadLora as load } from "../helpers/adapter_requests.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { postJson, serveTiny, type TestServer } from "../helpers/http_server.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LLAMA = "tiny-llama-genai-fp32";

/** Folders `a`, `b`, `c` of adapters, and `big` of rank 9. */
async function withAdapters(body: (server: TestServer, folder: string) => Promise<void>) {
  await inTempDir(async (folder) => {
    const targetModules = ["q_proj", "v_proj", "up_proj"];
    for (const [seed, name] of ["a", "b", "c"].entries()) {
      saveRandomAdapter(`${folder}/${name}`, LLAMA, { seed: seed + 1, targetModules });
    }
    saveRandomAdapter(`${folder}/big`, LLAMA, { seed: 9, rank: 9 });
    await using server = await serveTiny(LLAMA, { loraDir: folder, parallel: 4 });
    await body(server, folder);
    assertEquals(server.failures, []);
  });
}

const errorOf = ({ status, json }: { status: number; json: Record<string, unknown> }) => [
  status,
  (json.error as { code: string }).code,
];

Deno.test("graft's API: adapters are models of their own, and A → B → A gives the same texts", async () => {
  await withAdapters(async (server) => {
    const base = await complete(server, LLAMA);
    assertEquals((await load(server, "lamp", "a")).json, {
      status: "loaded",
      lora_name: "lamp",
      id: 0,
      rank: 4,
      adapter_generation: 1,
    });
    const a = await complete(server, "lamp");
    assertEquals(a.generation, 1);
    assertEquals((await load(server, "lamp", "b", { load_inplace: true })).status, 200);
    const b = await complete(server, "lamp");
    assertEquals((await load(server, "lamp", "a", { load_inplace: true })).status, 200);
    assertEquals(await complete(server, "lamp"), { text: a.text, generation: 3 });
    assertEquals(new Set([base.text, a.text, b.text]).size, 3);
    assertEquals((await complete(server, LLAMA)).text, base.text);

    const { data } = await (await fetch(`${server.url}/v1/models`)).json();
    assertEquals(
      data.map(({ id, parent }: Record<string, unknown>) => [id, parent]),
      [[LLAMA, null], ["lamp", LLAMA]],
    );
    const unload = { lora_name: "lamp" };
    assertEquals((await postJson(`${server.url}/v1/unload_lora_adapter`, unload)).status, 200);
    const gone = await postJson(`${server.url}/v1/completions`, { model: "lamp", prompt: "a" });
    assertEquals(errorOf(gone), [404, "model_not_found"]);
    const again = await postJson(`${server.url}/v1/unload_lora_adapter`, unload);
    assertEquals(errorOf(again), [404, "lora_adapter_not_found"]);
  });
});

Deno.test("graft's API: swaps under clients fail no request, and each reply is of its generation", async () => {
  await withAdapters(async (server) => {
    const expected = new Map<string, string>();
    for (const path of ["a", "b", "c"]) {
      await load(server, path, path);
      expected.set(path, (await complete(server, path)).text);
    }
    await load(server, "lamp", "a");
    const pathOf = new Map([[4, "a"]]);
    let swapping = true;
    const clients = Array.from({ length: 8 }, async () => {
      let answers = 0;
      while (swapping || answers === 0) {
        const { text, generation } = await complete(server, "lamp");
        assertEquals(text, expected.get(pathOf.get(generation!)!), `generation ${generation}`);
        answers++;
      }
      return answers;
    });
    for (let swap = 0; swap < 40; swap++) {
      const path = ["b", "c", "a"][swap % 3];
      pathOf.set(5 + swap, path);
      const { status, json } = await load(server, "lamp", path, { load_inplace: true });
      assertEquals([status, json.adapter_generation], [200, 5 + swap]);
    }
    swapping = false;
    assert((await Promise.all(clients)).every((answers) => answers > 0));
  });
});

Deno.test("graft's API: refused adapters leave everything as it was, with stable codes", async () => {
  await withAdapters(async (server, folder) => {
    await load(server, "lamp", "a");
    const before = await complete(server, "lamp");
    const refused = async (name: string, path: string, more: object = {}) =>
      errorOf(await load(server, name, path, more));
    assertEquals(await refused("lamp", "b"), [409, "lora_adapter_exists"]);
    assertEquals(
      await refused("lamp", "b", { load_inplace: true, expected_generation: 7 }),
      [409, "generation_conflict"],
    );
    assertEquals(await refused("other", "big"), [400, "lora_rank_limit_exceeded"]);
    saveRandomAdapter(`${folder}/foreign`, LLAMA, {
      seed: 1,
      baseDigest: `sha256:${"1".repeat(64)}`,
    });
    Deno.mkdirSync(`${folder}/empty`);
    Deno.copyFileSync(`${folder}/a/adapter_config.json`, `${folder}/empty/adapter_config.json`);
    for (
      const path of [
        "foreign",
        "empty",
        "none",
        "..",
        "../x",
        "/etc",
        "a/adapter_config.json",
        "a\0",
      ]
    ) {
      assertEquals(await refused("other", path), [400, "invalid_lora_adapter"], path);
    }
    Deno.symlinkSync("/etc", `${folder}/link`);
    assertEquals(await refused("other", "link"), [400, "invalid_lora_adapter"]);
    assertEquals((await load(server, "../x", "a")).status, 400);
    assertEquals(await complete(server, "lamp"), before);
    await using closed = await serveTiny(LLAMA);
    assertEquals(errorOf(await load(closed, "lamp", "a")), [400, "lora_loading_disabled"]);
  });
});

Deno.test("graft's API: mixes of adapters, for one request and for all", async () => {
  await withAdapters(async (server) => {
    await load(server, "a", "a");
    await load(server, "b", "b");
    const base = (await complete(server, LLAMA)).text;
    const [a, b] = [(await complete(server, "a")).text, (await complete(server, "b")).text];
    const withScales = async (...lora: [number, number][]) =>
      (await complete(server, LLAMA, { lora: lora.map(([id, scale]) => ({ id, scale })) })).text;
    assertEquals(await withScales([0, 1]), a);
    assertEquals(await withScales([1, 1], [0, 0]), b);
    assertEquals(await withScales([0, 0.5], [0, 0.5]), a);
    assertEquals(await withScales([0, 1], [1, 1], [1, -1]), a);
    assertEquals(await withScales(), base);
    const mixed = await withScales([0, 0.7], [1, 0.6]);
    assert(![base, a, b].includes(mixed));

    const url = `${server.url}/lora-adapters`;
    const scales = [{ id: 0, scale: 0.7 }, { id: 1, scale: 0.6 }];
    assertEquals((await postJson(url, scales)).status, 200);
    assertEquals((await complete(server, LLAMA)).text, mixed);
    assertEquals((await complete(server, "a")).text, a);
    const listed = await (await fetch(url)).json();
    assertEquals(
      listed.map(({ id, name, scale }: Record<string, unknown>) => [id, name, scale]),
      [[0, "a", 0.7], [1, "b", 0.6]],
    );
    assertEquals(errorOf(await postJson(url, [{ id: 5, scale: 1 }])), [
      404,
      "lora_adapter_not_found",
    ]);
    assertEquals((await postJson(url, [])).status, 200);
    assertEquals((await complete(server, LLAMA)).text, base);
  });
});

Deno.test("graft's API: an adapter that was replaced is rolled back as it was read, whatever became of its folder", async () => {
  await withAdapters(async (server, folder) => {
    const rollBack = (more: object = {}) =>
      postJson(`${server.url}/v1/rollback_lora_adapter`, { lora_name: "lamp", ...more });
    const previous = async () =>
      (await (await fetch(`${server.url}/lora-adapters`)).json())[0].previous_path;
    assertEquals(errorOf(await rollBack()), [404, "lora_adapter_not_found"]);
    await load(server, "lamp", "a");
    assertEquals(await previous(), null);
    assertEquals(errorOf(await rollBack()), [409, "no_previous_lora_adapter"]);
    const a = await complete(server, "lamp");
    await load(server, "lamp", "b", { load_inplace: true });
    const b = await complete(server, "lamp");
    assertEquals(await previous(), Deno.realPathSync(`${folder}/a`));
    Deno.removeSync(`${folder}/a`, { recursive: true });
    assertEquals(errorOf(await rollBack({ expected_generation: 1 })), [409, "generation_conflict"]);
    assertEquals((await rollBack({ expected_generation: 2 })).json, {
      status: "rolled_back",
      lora_name: "lamp",
      id: 0,
      rank: 4,
      adapter_generation: 3,
    });
    assertEquals(await complete(server, "lamp"), { text: a.text, generation: 3 });
    // And forward again.
    assertEquals(await previous(), Deno.realPathSync(`${folder}/b`));
    await rollBack();
    assertEquals(await complete(server, "lamp"), { text: b.text, generation: 4 });
  });
});

Deno.test("graft's API: the folders that can be loaded are listed, and nothing outside", async () => {
  await withAdapters(async (server, folder) => {
    const newer = new Date(Date.now() + 60_000);
    Deno.utimeSync(`${folder}/b/adapter_model.safetensors`, newer, newer);
    Deno.mkdirSync(`${folder}/empty`);
    Deno.writeTextFileSync(`${folder}/file`, "");
    await inTempDir(async (outside) => {
      saveRandomAdapter(`${outside}/other`, LLAMA, { seed: 5 });
      Deno.symlinkSync(`${outside}/other`, `${folder}/linked`);
      const listed = await (await fetch(`${server.url}/lora-adapters/folders`)).json();
      const paths = listed.data.map(({ path }: { path: string }) => path);
      assertEquals(paths[0], "b");
      assertEquals(paths.toSorted(), ["a", "b", "big", "c"]);
    });
  });
});

Deno.test("graft's API: an exported .onnx_adapter answers as its folder does, and mixes", async () => {
  await withAdapters(async (server, folder) => {
    const adapterPath = [`${folder}/a`];
    await exportAdapters({ model: modelDir(LLAMA), adapterPath, savePath: `${folder}/out` });
    Deno.renameSync(`${folder}/out/a.onnx_adapter`, `${folder}/lamp.onnx_adapter`);
    await load(server, "folder", "a");
    assertEquals((await load(server, "file", "lamp.onnx_adapter")).status, 200);
    const expected = (await complete(server, "folder")).text;
    assertEquals((await complete(server, "file")).text, expected);
    const lora = [{ id: 0, scale: 0.5 }, { id: 1, scale: 0.5 }];
    assertEquals((await complete(server, LLAMA, { lora })).text, expected);
    Deno.writeTextFileSync(`${folder}/bad.onnx_adapter`, "x".repeat(100));
    assertEquals(errorOf(await load(server, "bad", "bad.onnx_adapter")), [
      400,
      "invalid_lora_adapter",
    ]);
    const merged = await load(server, "other", "lamp.onnx_adapter", { way: "merged" });
    assertEquals(merged.status, 400);
  });
});
