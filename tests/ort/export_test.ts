import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { BadInputError, ParameterError, UsageError } from "../../src/errors.ts";
import { exportAdapters } from "../../src/tasks/export.ts";
import { InferenceModel } from "../../src/tasks/inference_model.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { runPython } from "../helpers/run_python.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const IDS = [1, 5, 9, 20];
const OPTIONS = { maxTokens: 16, temperature: 0 };

/** Tokens that onnxruntime-genai generates: for the base, and for each adapter. */
const GENAI = `
import json, sys
import onnxruntime_genai as og
request = json.loads(sys.argv[1])
model = og.Model(request["model"])
adapters = og.Adapters(model)
for path in request["adapters"]:
    adapters.load(path, path)
def ids(adapter):
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(request["ids"]) + request["tokens"], do_sample=False)
    generator = og.Generator(model, params)
    if adapter is not None:
        generator.set_active_adapter(adapters, adapter)
    generator.append_tokens(request["ids"])
    out = []
    while not generator.is_done():
        generator.generate_next_token()
        out.append(int(generator.get_next_tokens()[0]))
    return out
print(json.dumps([ids(None)] + [ids(path) for path in request["adapters"]]))
`;

for (const name of ["tiny-llama-genai-fp32", "tiny-llama-genai-int4"]) {
  testWithPython(
    ["onnxruntime_genai"],
    `exportAdapters() of ${name}: onnxruntime-genai switches the files as graft does the adapters`,
    () =>
      inTempDir(async (folder) => {
        saveRandomAdapter(`${folder}/lamp`, name, { seed: 1 });
        saveRandomAdapter(`${folder}/mill`, name, {
          seed: 2,
          rank: 2,
          targetModules: ["up_proj", "k_proj"],
        });
        const model = modelDir(name);
        const paths = ["lamp", "mill"].map((adapter) => `${folder}/${adapter}`);
        const savePath = `${folder}/out`;
        const { adapters } = await exportAdapters({ model, adapterPath: paths, savePath });
        assertEquals(adapters, ["lamp.onnx_adapter", "mill.onnx_adapter"]);
        const expected = [];
        for (const adapterPath of [undefined, ...paths]) {
          using opened = await InferenceModel.open({ model, adapterPath, threads: 1 });
          expected.push((await opened.complete(IDS, OPTIONS)).ids);
        }
        assertNotEquals(expected[1], expected[2]);
        const files = adapters.map((file) => `${savePath}/${file}`);
        const request = { model: savePath, adapters: files, ids: IDS, tokens: OPTIONS.maxTokens };
        // Without an adapter it is the base.
        assertEquals(JSON.parse(await runPython(GENAI, [JSON.stringify(request)])), expected);
        using exported = await InferenceModel.open({ model: savePath, threads: 1 });
        assertEquals((await exported.complete(IDS, OPTIONS)).ids, expected[0]);
      }),
  );
}

Deno.test("InferenceModel.loadAdapter() takes a file of exportAdapters() like the folder, and none of another base", async () => {
  await inTempDir(async (folder) => {
    const name = "tiny-llama-genai-int4";
    saveRandomAdapter(`${folder}/lamp`, name, { seed: 1 });
    const adapterPath = [`${folder}/lamp`];
    await exportAdapters({ model: modelDir(name), adapterPath, savePath: `${folder}/out` });
    const file = `${folder}/out/lamp.onnx_adapter`;
    const loraTargetModules = ["all-linear"];
    {
      using model = await InferenceModel.open({ model: modelDir(name), loraTargetModules });
      const answers = [];
      for (const path of [`${folder}/lamp`, file]) {
        const { rank, matrices, isMergeable } = await model.loadAdapter(path);
        // One product computes q and v: their ranks lie beside each other in a file.
        assertEquals([rank, isMergeable], path === file ? [8, false] : [4, true]);
        answers.push((await model.complete(IDS, { ...OPTIONS, adapter: matrices })).ids);
      }
      assertEquals(answers[1], answers[0]);
      Deno.writeTextFileSync(`${folder}/x.onnx_adapter`, "no adapter at all, but text");
      await assertRejects(() => model.loadAdapter(`${folder}/x.onnx_adapter`), BadInputError, "x.");
      await assertRejects(() => model.loadAdapter(`${folder}/y.onnx_adapter`), BadInputError, "y.");
    }
    const other = modelDir("tiny-llama-genai-fp32");
    using model = await InferenceModel.open({ model: other, loraTargetModules });
    await assertRejects(() => model.loadAdapter(file), BadInputError, "another base");
  });
});

Deno.test("exportAdapters() refuses folders of one name, and what exists or holds the adapter", async () => {
  await inTempDir(async (folder) => {
    const name = "tiny-llama-genai-fp32";
    for (const path of ["a/lamp", "b/lamp"]) {
      Deno.mkdirSync(`${folder}/${path.slice(0, 1)}`);
      saveRandomAdapter(`${folder}/${path}`, name, { seed: 1 });
    }
    const model = modelDir(name);
    const adapterPath = [`${folder}/a/lamp`, `${folder}/b/lamp`];
    const savePath = `${folder}/out`;
    await assertRejects(
      () => exportAdapters({ model, adapterPath, savePath }),
      ParameterError,
      "lamp.onnx_adapter",
    );
    await exportAdapters({ model, adapterPath: adapterPath.slice(1), savePath });
    const again = { model, adapterPath: adapterPath.slice(1), savePath };
    await assertRejects(() => exportAdapters(again), UsageError, "exists");
    await exportAdapters({ ...again, force: true });
    await assertRejects(
      () => exportAdapters({ ...again, savePath: `${folder}/b`, force: true }),
      UsageError,
      "it holds the adapter",
    );
  });
});
