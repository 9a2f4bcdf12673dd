import { assert, assertEquals, assertThrows } from "@std/assert";
import { elementCount, float32, int64, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import {
  addClassificationHead,
  DEFAULT_LORA,
  findModules,
  initAdapter,
  initLinear,
  inject,
  resolveTargets,
} from "../../src/lora/mod.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { Random } from "../../src/random.ts";
import { UsageError } from "../../src/errors.ts";
import { prune } from "../../src/graph/passes/prune.ts";
import { halfModel } from "../helpers/half_model.ts";
import { exactKernels } from "../helpers/exact_kernels.ts";
import { MINILM_DIR, modelDir, readModel, referenceDir } from "../helpers/fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import { ORACLES, readOracle, readTensors } from "../helpers/oracle.ts";
import { sampled } from "../helpers/sampled.ts";

const MODELS = [
  "tiny-llama-genai-fp32",
  "tiny-llama-genai-int4",
  "tiny-llama-torch-fp32",
  "tiny-bert-torch-fp32",
  "tiny-bert-dynamic-int8",
  ...Array.from(Deno.readDirSync(modelDir("dialects")), ({ name }) => `dialects/${name}`).sort(),
].map(modelDir).concat(MINILM_DIR);

for (const [i, dir] of MODELS.entries()) {
  for (const target of sampled(["all-linear", "attention"], i)) {
    Deno.test(`inject() with B zero leaves ${dir.split("/").at(-1)} as it is, targets ${target}`, async () => {
      using runner = createOrtRunner({ threads: 1 });
      const base = readModel(dir);
      const output = base.graph.outputs[0].name;
      const sites = resolveTargets(findModules(base), { ...DEFAULT_LORA, targetModules: [target] });
      const { model } = inject(base, sites, initAdapter(sites, "kaiming", Random.fromSeed(1)));
      const run = (model: Model, optimization: "disabled" | "all") =>
        runOutput(runner, model, tokenFeeds(2, 12, 100), output, { optimization });
      const bits = (values: Float32Array) => new Uint32Array(values.buffer);
      assertEquals(bits(await run(model, "disabled")), bits(await run(base, "disabled")));
      const { relative } = difference(await run(model, "all"), await run(base, "all"));
      assert(relative <= 1e-5, `relative difference is ${relative}`);
    });
  }
}

for (const name of ORACLES) {
  const oracle = readOracle(name);
  for (const onnxModel of oracle.onnx_models) {
    for (
      const [saved, expected] of [["adapter_init", "logits_init"], [
        "adapter_after_10_steps",
        "logits_after_10_steps",
      ]]
    ) {
      Deno.test(`applyAdapter() of PEFT's ${name}/${saved} gives PEFT's logits on ${onnxModel}`, async () => {
        using runner = createOrtRunner({ threads: 1 });
        const tensors = readTensors(`${referenceDir(name)}/tensors.safetensors`);
        const { adapter, notes } = loadAdapter(`${referenceDir(name)}/${saved}`);
        const { model, trainable } = applyAdapter(
          exactKernels(readModel(modelDir(onnxModel))),
          adapter,
        );
        const given = new Map(
          [...tensors].filter(([key]) => /^(input_ids|attention_mask)$/.test(key)),
        );
        const logits = await runOutput(runner, model, given);
        const { absolute } = difference(
          logits,
          toNumbers(tensors.get(expected)!),
        );
        // The int8 graph rounds activations to 8 bits, the oracle does not.
        const tolerance = name.includes("int8") ? 0.03 : 1e-4;
        assert(absolute <= tolerance, `logits differ by ${absolute}`);
        const count = [...trainable.values()].reduce(
          (sum, { dims }) => sum + elementCount(dims),
          0,
        );
        assertEquals(count, oracle.trainable_parameters);
        assertEquals(notes.length, 1);
      });
    }
  }
}

Deno.test("inject() with A and B as inputs computes what it computes with them inside", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir("tiny-llama-genai-fp32"));
  const { adapter } = loadAdapter(`${referenceDir("tiny-llama-fp32.all")}/adapter_after_10_steps`);
  const feeds = tokenFeeds(2, 6, 500);
  const inside = await runOutput(runner, applyAdapter(base, adapter).model, feeds);
  const outside = applyAdapter(base, adapter, { asInputs: true });
  const weights = new Map<string, Tensor>();
  for (const [path, { a, b }] of adapter.lora) {
    weights.set(`${path}.lora_A.weight`, a).set(`${path}.lora_B.weight`, b);
  }
  assertEquals([...weights.keys()].sort(), [...outside.trainable.keys()].sort());
  const found = await runOutput(runner, outside.model, new Map([...feeds, ...weights]));
  const { relative } = difference(found, inside);
  assert(relative <= 1e-6, `relative difference is ${relative}`);
});

Deno.test("inject() with a mask of ones computes what it computes without dropout, and not with zeros", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir("tiny-llama-genai-fp32"));
  const { adapter } = loadAdapter(`${referenceDir("tiny-llama-fp32.qv")}/adapter_after_10_steps`);
  const feeds = tokenFeeds(2, 6, 500);
  const dropping = { ...adapter, config: { ...adapter.config, dropout: 0.5 } };
  const { model, masks } = applyAdapter(base, dropping, { dropout: true });
  assertEquals(masks.size, 4);
  const filled = (value: number) =>
    new Map(
      [...masks.keys()].map((
        name,
      ) => [name, float32([2, 6, 64], new Float32Array(768).fill(value))]),
    );
  const plain = await runOutput(runner, applyAdapter(base, dropping).model, feeds);
  const ones = await runOutput(runner, model, new Map([...feeds, ...filled(1)]));
  const zeros = await runOutput(runner, model, new Map([...feeds, ...filled(0)]));
  assert(difference(ones, plain).relative <= 1e-6);
  const without = await runOutput(runner, base, feeds);
  assert(difference(zeros, without).relative <= 1e-6);
  assert(difference(zeros, plain).relative > 1e-3);
});

for (const pooling of ["mean", "first"] as const) {
  Deno.test(`addClassificationHead() pools by ${pooling} over the tokens that the mask keeps`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = readModel(MINILM_DIR);
    const head = initLinear(7, 384, Random.fromSeed(3));
    const { model, trainable } = addClassificationHead(base, head, { pooling });
    assertEquals([...trainable.keys()], ["head.weight", "head.bias"]);
    const feeds = tokenFeeds(1, 9, 500);
    const kept = [0, 1, 2, 3, 4, 5];
    feeds.set("attention_mask", int64([1, 9], [...kept.map(() => 1), 0, 0, 0]));
    const states = await runOutput(runner, base, feeds, "last_hidden_state");
    const logits = await runOutput(runner, model, feeds);
    const pooled = Array.from(
      { length: 384 },
      (_, j) =>
        pooling === "first"
          ? states[j]
          : kept.reduce((sum, t) => sum + states[t * 384 + j], 0) / kept.length,
    );
    const weight = toNumbers(head.weight);
    const expected = Array.from(
      toNumbers(head.bias),
      (b, c) => pooled.reduce((sum, value, j) => sum + value * weight[c * 384 + j], b),
    );
    assert(difference(logits, expected).relative <= 1e-5);
  });
}

/** The tiny BERT without its head: token states of 64 numbers. */
function tinyEncoder(): Model {
  const model = readModel(modelDir("tiny-bert-torch-fp32"));
  const last = model.graph.nodes.findLast(({ opType }) => opType === "LayerNormalization")!;
  const [name] = last.outputs;
  const type = { dtype: "float32", shape: ["batch", "sequence", 64] } as const;
  const graph = { ...model.graph, outputs: [{ name, type }], valueInfo: new Map() };
  return { ...model, graph: prune(graph) };
}

Deno.test("addClassificationHead() goes on a model that calls an inner value logits", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = tinyEncoder();
  const inner = base.graph.nodes.find(({ opType }) => opType === "LayerNormalization")!.outputs[0];
  const renamed = (names: readonly string[]) =>
    names.map((name) => name === inner ? "logits" : name);
  const nodes = base.graph.nodes.map((node) => ({
    ...node,
    inputs: renamed(node.inputs),
    outputs: renamed(node.outputs),
  }));
  const type = { dtype: "float32", shape: ["batch", "sequence", 64] } as const;
  const valueInfo = new Map([["logits", { name: "logits", type }]]);
  const named = { ...base, graph: { ...base.graph, nodes, valueInfo } };
  const head = initLinear(3, 64, Random.fromSeed(3));
  const feeds = tokenFeeds(2, 6, 100);
  const found = await runOutput(
    runner,
    addClassificationHead(named, head, { pooling: "mean" }).model,
    feeds,
  );
  const expected = await runOutput(
    runner,
    addClassificationHead(base, head, { pooling: "mean" }).model,
    feeds,
  );
  assertEquals(found, expected);
});

Deno.test("addClassificationHead() computes in float32 over token states in float16", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const head = initLinear(3, 64, Random.fromSeed(3));
  const feeds = tokenFeeds(2, 6, 500);
  const logits = async (base: Model) => {
    const { model } = addClassificationHead(base, head, { pooling: "mean" });
    assertEquals(model.graph.outputs.at(-1)!.type!.dtype, "float32");
    return await runOutput(runner, model, feeds);
  };
  const { relative } = difference(
    await logits(halfModel(tinyEncoder())),
    await logits(tinyEncoder()),
  );
  assert(relative > 0 && relative < 0.01, `relative difference is ${relative}`);
});

Deno.test("addClassificationHead() refuses token states of a size that the graph leaves open", () => {
  const base = tinyEncoder();
  const [{ name }] = base.graph.outputs;
  const type = { dtype: "float32", shape: ["batch", "sequence", "hidden"] } as const;
  const open = { ...base, graph: { ...base.graph, outputs: [{ name, type }] } };
  assertThrows(
    () => addClassificationHead(open, initLinear(3, 64, Random.fromSeed(3)), { pooling: "mean" }),
    UsageError,
    `hidden a number: current outputs are ${name} [batch, sequence, hidden]`,
  );
});
