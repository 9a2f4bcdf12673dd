import { assert, assertEquals, assertRejects } from "@std/assert";
import { BadInputError, UsageError } from "../../src/errors.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { quantizeDirectory } from "../../src/model/quantize_directory.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { encodeModel } from "../../src/onnx/mod.ts";
import { withConstantNodes } from "../helpers/constant_nodes.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

function load(name: string) {
  return loadFile(`${modelDir(name)}/model.onnx`);
}

function loadFile(path: string) {
  const { model, sizeBytes } = loadOnnx(path);
  return { path, model, sizeBytes };
}

function write(model: Model, folder: string): string {
  Deno.mkdirSync(folder);
  Deno.writeFileSync(`${folder}/model.onnx`, encodeModel(model) as Uint8Array<ArrayBuffer>);
  return `${folder}/model.onnx`;
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
    using runner = createOrtRunner({ spinning: false });
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
      await assertRejects(() => write(target), UsageError, "force replaces model folders only");
    }
    for (const path of kept) assertEquals(Deno.readTextFileSync(path), "mine");
  }));

for (const { model, bits, weights, worst } of CASES) {
  Deno.test(`quantizeDirectory() writes ${model} at ${bits} bits that stock ORT runs`, () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
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

Deno.test("quantizeDirectory() writes int4 blocks with DequantizeLinear as near as MatMulNBits", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner({ spinning: false });
    const base = load("tiny-llama-genai-fp32");
    const request = { base, bits: 4, minElements: 1024 } as const;
    const savePath = `${dir}/qdq`;
    const result = await quantizeDirectory(runner, { ...request, savePath, useQdq: true });
    const other = await quantizeDirectory(runner, { ...request, savePath: `${dir}/nbits` });
    const [error, others] = [result, other].map(({ outputErrors }) => outputErrors.get("logits")!);
    assert(error > 0 && error < 1.2 * others, `${error}, MatMulNBits ${others}`);
    assert(result.sizeBytesAfter < 1.02 * other.sizeBytesAfter);
    const { DequantizeLinear, MatMul, MatMulNBits } = operators(`${savePath}/model.onnx`);
    assertEquals([DequantizeLinear, MatMul, MatMulNBits], [10, 11, undefined]);
  }));

Deno.test("quantizeDirectory() refuses int4 with DequantizeLinear in an operator set without it", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner({ spinning: false });
    const base = loadFile(write(overFloats(SINES), `${dir}/base`));
    await assertRejects(
      () => quantizeDirectory(runner, { base, savePath: `${dir}/q`, bits: 4, useQdq: true }),
      BadInputError,
      "need opset 21 and IR version 10: current values are 17 and 9",
    );
  }));

Deno.test("quantizeDirectory() leaves the head alone unless asked, and refuses quantised models", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner({ spinning: false });
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

Deno.test("quantizeDirectory() quantises weights that Constant nodes hold as it does initializers", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner({ spinning: false });
    const base = load("tiny-bert-torch-fp32");
    const held = loadFile(write(withConstantNodes(base.model), `${dir}/held`));
    const [expected, found] = await Promise.all(
      [base, held].map((base, i) =>
        quantizeDirectory(runner, { base, savePath: `${dir}/q${i}`, bits: 4, minElements: 1024 })
      ),
    );
    assertEquals(found.weights, expected.weights);
    assertEquals(found.outputErrors, expected.outputErrors);
  }));

const SINES = Array.from({ length: 4096 }, (_, i) => Math.sin(i));

/** One linear layer, [64, 64] as MatMul has it, over what is no text. */
function overFloats(weight: readonly number[], batch: number | string = "batch"): Model {
  const node = (opType: string, inputs: readonly string[], output: string) => ({
    name: opType,
    opType,
    domain: "",
    inputs,
    outputs: [output],
    attributes: {},
  });
  return {
    irVersion: 9,
    opsets: { "": 17 },
    metadata: {},
    graph: {
      name: "floats",
      inputs: [{ name: "pixels", type: { dtype: "float32", shape: [batch, 64] } }],
      outputs: [{ name: "y", type: { dtype: "float32", shape: [batch, 64] } }],
      initializers: new Map([["w", float32([64, 64], weight)]]),
      valueInfo: new Map(),
      nodes: [node("MatMul", ["pixels", "w"], "hidden"), node("Relu", ["hidden"], "y")],
    },
  };
}

Deno.test("quantizeDirectory() quantises a model that takes no tokens, and says that it compared nothing", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner({ spinning: false });
    for (const [i, model] of [overFloats(SINES), overFloats(SINES, 2)].entries()) {
      const base = loadFile(write(model, `${dir}/${i}`));
      const request = { base, savePath: `${dir}/q${i}`, bits: 8 } as const;
      const { weights, outputErrors, notCompared } = await quantizeDirectory(runner, request);
      assertEquals([weights.length, outputErrors.size], [1, 0]);
      assert(/input "pixels"/.test(notCompared!), notCompared);
      assertEquals(operators(`${dir}/q${i}/model.onnx`).DequantizeLinear, 1);
    }
  }));

for (const bits of [4, 8] as const) {
  Deno.test(`quantizeDirectory() quantises a channel that is all zeros, ${bits} bits`, () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const dead = SINES.map((value, i) => i % 64 === 3 ? 0 : value);
      const base = loadFile(write(overFloats(dead), `${dir}/base`));
      await quantizeDirectory(runner, { base, savePath: `${dir}/q`, bits });
      const { model } = loadFile(`${dir}/q/model.onnx`);
      using executable = await runner.compile(model);
      using pixels = runner.upload(float32([1, 64], new Array(64).fill(1)));
      using y = (await executable.run({ pixels })).y;
      const values = [...toNumbers(y.read())];
      assertEquals(values[3], 0);
      assert(values.some((value) => value > 0));
    }));

  Deno.test(`quantizeDirectory() refuses a weight that holds NaN, and leaves nothing, ${bits} bits`, () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const base = loadFile(write(overFloats(SINES.with(99, NaN)), `${dir}/base`));
      await assertRejects(
        () => quantizeDirectory(runner, { base, savePath: `${dir}/q`, bits }),
        BadInputError,
        'Cannot quantise "w": element 99 is NaN or infinite',
      );
      assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["base"]);
    }));
}
