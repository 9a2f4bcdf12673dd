import { assert, assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { quantizeDirectory } from "../../src/model/quantize_directory.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

function load(name: string) {
  const path = `${modelDir(name)}/model.onnx`;
  const { model, sizeBytes } = loadOnnx(path);
  return { path, model, sizeBytes };
}

const operators = (path: string) => {
  const counts: Record<string, number> = {};
  for (const { opType } of loadOnnx(path).model.graph.nodes) {
    counts[opType] = (counts[opType] ?? 0) + 1;
  }
  return counts;
};

// Random weights are the hardest case: nothing in them is redundant.
const CASES = [
  { model: "tiny-llama-genai-fp32", bits: 8, weights: 10, worst: 0.04 },
  { model: "tiny-llama-genai-fp32", bits: 4, weights: 10, worst: 0.35 },
  { model: "tiny-llama-torch-fp32", bits: 4, weights: 14, worst: 0.35 },
  { model: "tiny-bert-torch-fp32", bits: 8, weights: 13, worst: 0.04 },
  { model: "tiny-bert-torch-fp32", bits: 4, weights: 13, worst: 0.2 },
] as const;

Deno.test("quantizeDirectory() with force replaces a model, and nothing that is none", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner();
    const base = load("tiny-bert-torch-fp32");
    const write = (savePath: string) =>
      quantizeDirectory(runner, { base, savePath, bits: 8, minElements: 1024, force: true });
    await write(`${dir}/q`);
    await write(`${dir}/q`);
    const kept = [`${dir}/adapter/adapter_config.json`, `${dir}/data/model.onnx.txt`];
    for (const path of kept) {
      Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")));
      Deno.writeTextFileSync(path, "mine");
    }
    for (const target of [`${dir}/adapter`, `${dir}/data`, kept[0]]) {
      await assertRejects(() => write(target), UsageError, "--force replaces model folders only");
    }
    for (const path of kept) assertEquals(Deno.readTextFileSync(path), "mine");
  }));

for (const { model, bits, weights, worst } of CASES) {
  Deno.test(`quantizeDirectory() writes ${model} at ${bits} bits that stock ORT runs`, () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner();
      const savePath = `${dir}/quantized`;
      const base = load(model);
      const result = await quantizeDirectory(runner, { base, savePath, bits, minElements: 1024 });
      assertEquals(result.weights.length, weights);
      assert(result.sizeBytesAfter < 0.75 * result.sizeBytesBefore);
      for (const { relativeError } of result.weights) {
        assert(relativeError > 0 && relativeError < (bits === 4 ? 0.11 : 0.01), `${relativeError}`);
      }
      const error = result.outputErrors.get("logits")!;
      assert(error > 0 && error < worst, `${error}`);
      const counts = operators(`${savePath}/model.onnx`);
      assertEquals(counts[bits === 4 ? "MatMulNBits" : "DequantizeLinear"], weights);
      const files = (folder: string) =>
        [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
      assertEquals(files(savePath), files(modelDir(model)));
    }));
}

Deno.test("quantizeDirectory() leaves the head alone unless asked, and refuses quantised models", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner();
    const base = load("tiny-llama-genai-fp32");
    const request = { base, savePath: `${dir}/q`, bits: 4, minElements: 1024 } as const;
    const without = await quantizeDirectory(runner, request);
    assert(without.weights.every(({ weight }) => !weight.startsWith("lm_head")));
    const withHead = await quantizeDirectory(runner, {
      ...request,
      includeHead: true,
      force: true,
    });
    assertEquals(withHead.weights.length, without.weights.length + 1);
    await assertRejects(() => quantizeDirectory(runner, request), UsageError, "it exists");
    await assertRejects(
      () =>
        quantizeDirectory(runner, {
          ...request,
          base: load("tiny-llama-genai-int4"),
          savePath: `${dir}/again`,
        }),
      UsageError,
      "no linear layer with a float weight",
    );
  }));
