/** Adapters on the queries, keys and values inside ONNX Runtime's fused attention. */
import { assert, assertEquals } from "@std/assert";
import { float, int, ints } from "../../src/graph/attributes.ts";
import { int32, int64, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { makeTrainable } from "../../src/lora/modules_to_save.ts";
import { planQuantize } from "../../src/quant/quantize_model.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { normal } from "../helpers/directional.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";
import { EACH_ORT } from "../helpers/oldest_ort.ts";
import { withRandomAdapter } from "../helpers/random_adapter.ts";
import {
  adapted,
  assertGradientsOfDifferences,
  batchOf,
  rowsOf,
} from "../helpers/training_step.ts";

const read = (name: string) => readModel(modelDir(`dialects/${name}`));
const TARGETS = ["query", "key", "value"];
// The optimiser would fuse what was taken apart in another order.
const PLAIN = { optimization: "disabled" } as const;

/** Two rows of nine tokens, of which the second has six. */
function padded(): Map<string, Tensor> {
  const mask = Array.from({ length: 18 }, (_, i) => Number(i < 15));
  return new Map([...tokenFeeds(2, 9, 100), ["attention_mask", int64([2, 9], mask)]]);
}

for (const name of ["bert-attention", "bert-qattention"]) {
  for (const { on, ortLib, ignore } of EACH_ORT) {
    Deno.test({
      name: `inject() leaves ${name}'s logits where B is zero${on}`,
      ignore,
      async fn() {
        using runner = createOrtRunner({ threads: 1, ortLib });
        const base = read(name);
        const { model } = withRandomAdapter(base, TARGETS, 0);
        const run = (model: Model) => runOutput(runner, model, padded(), "logits", PLAIN);
        assert(difference(await run(model), await run(base)).relative <= 1e-5);
      },
    });
  }

  Deno.test(`mergeModel() writes the projections of ${name} into the attention's own weight`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = read(name);
    const { changes, model } = withRandomAdapter(base, TARGETS, 0.4);
    // Sessions that optimise nothing saturate 8-bit products on processors without VNNI.
    const run = (model: Model) => runOutput(runner, model, padded());
    const wanted = await run(model);
    const bare = difference(await run(base), wanted).absolute;
    // In floats the inputs of layers are no longer rounded to 8 bits.
    const float = name === "bert-attention" ? 1e-4 : 0.1;
    for (const [method, bound] of [["float", float], ["nearest", 0.1]] as const) {
      const merged = (await mergeModel(base, changes, method)).model;
      const left = difference(await run(merged), wanted).absolute;
      assert(left <= bound * bare, `${method}: ${left} of ${bare}`);
      if (method === "float") continue;
      assertEquals(merged.graph.nodes, base.graph.nodes);
      const changed = [...merged.graph.initializers].filter(([name, { bytes }]) =>
        String(bytes) !== String(base.graph.initializers.get(name)!.bytes)
      );
      assert(changed.length > 0);
      assert(changed.every(([name]) => name.includes("qkv_weight")), changed.join());
    }
  });

  Deno.test(`a step's gradient is that of differences for the projections of ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const made = adapted(read(name), { targetModules: TARGETS, dropout: 0 });
    using step = new PlannedModel({ runner, ...made, objective: "classification" });
    const rows = rowsOf([9, 5, 7]).map((row) => ({ ...row, ids: row.ids.map((id) => id % 100) }));
    const batch = batchOf(rows, 16, "classification");
    assertEquals(step.parameters.length, 2 * 2 * TARGETS.length);
    await assertGradientsOfDifferences(step, batch);
  });
}

/** x [2, 3, 4] through an attention of two heads whose values are wider than its queries. */
function causal(): Model {
  return tinyModel({
    inputs: { x: ["float32", [2, 3, 4]] },
    outputs: { y: ["float32", [2, 3, 8]] },
    nodes: [["com.microsoft.Attention", ["x", "w", "b", "mask"], ["y"], {
      num_heads: int(2),
      unidirectional: int(1),
      scale: float(0.7),
      mask_filter_value: float(-20000),
      qkv_hidden_sizes: ints([4, 4, 8]),
    }]],
    initializers: {
      w: normal([4, 16], 1),
      b: normal([16], 2),
      mask: int32([2, 3], [1, 1, 1, 0, 1, 1]),
    },
  });
}

async function runTiny(runner: Runner, model: Model): Promise<Float32Array> {
  using executable = await runner.compile(model, PLAIN);
  const { y } = await executable.run({ x: runner.upload(normal([2, 3, 4], 3)) });
  return Float32Array.from(toNumbers(y.read()));
}

for (const { on, ortLib, ignore } of EACH_ORT) {
  Deno.test({
    name: `inject() keeps an attention's mask, direction, scale and sizes${on}`,
    ignore,
    async fn() {
      using runner = createOrtRunner({ threads: 1, ortLib });
      const base = causal();
      const run = (model: Model) => runTiny(runner, model);
      const zero = withRandomAdapter(base, ["*"], 0);
      const before = await run(base);
      assert(difference(await run(zero.model), before).relative <= 1e-5);
      const { changes, model } = withRandomAdapter(base, ["*"], 1);
      const wanted = await run(model);
      const merged = await mergeModel(base, changes, "nearest");
      assert(difference(await run(merged.model), wanted).relative <= 1e-5);
      assert(difference(before, wanted).relative > 0.01);
    },
  });
}

/** An attention with its output layer, called twice, as exporters write ALBERT's. */
function calledTwice(): Model {
  const layer = (x: string, i: number, y: string): TinyNode[] => [
    ["com.microsoft.Attention", [x, `w${i}`, `b${i}`], [`a${i}`], { num_heads: int(2) }],
    ["MatMul", [`a${i}`, "o"], [y]],
  ];
  const model = tinyModel({
    inputs: { x: ["float32", [2, 3, 4]] },
    outputs: { y: ["float32", [2, 3, 4]] },
    nodes: [...layer("x", 0, "h"), ...layer("h", 1, "y")],
    initializers: {
      w0: normal([4, 12], 1),
      b0: normal([12], 2),
      // The optimiser writes the fused weight anew for each call.
      w1: normal([4, 12], 1),
      b1: normal([12], 2),
      o: normal([4, 4], 3),
    },
  });
  const name = "/encoder/albert_layer_groups.0/albert_layers.0/attention/dense/MatMul";
  const names = ["", name, "", `${name}_1`];
  const nodes = model.graph.nodes.map((node, i) => ({ ...node, name: names[i] }));
  return { ...model, graph: { ...model.graph, nodes } };
}

Deno.test("an adapter on a fused attention that is called again works at every call", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = calledTwice();
  const modules = findModules(base);
  const parent = "encoder.albert_layer_groups.0.albert_layers.0.attention";
  assertEquals(modules.map(({ path }) => path), [
    ...["query", "key", "value", "dense"].map((name) => `${parent}.${name}`),
  ]);
  assert(modules.every(({ again }) => again?.length === 1));
  const run = (model: Model) => runTiny(runner, model);
  const { changes, model } = withRandomAdapter(base, TARGETS, 0.5);
  const wanted = await run(model);
  const merged = await mergeModel(base, changes, "nearest");
  assert(difference(await run(merged.model), wanted).relative <= 1e-5);
  assert(difference(await run(base), wanted).relative > 0.01);
});

/** The attention with a weight that bears its checkpoint's name. */
function inOnePiece(): Model {
  const { graph, ...rest } = causal();
  const name = "transformer.h.0.attn.c_attn.weight";
  const nodes = graph.nodes.map((node) => ({
    ...node,
    inputs: node.inputs.map((input) => input === "w" ? name : input),
  }));
  const initializers = new Map([...graph.initializers, [name, graph.initializers.get("w")!]]);
  return { ...rest, graph: { ...graph, nodes, initializers } };
}

Deno.test("findModules() takes a weight that a checkpoint has in one piece for one layer", () => {
  const [module, ...others] = findModules(inOnePiece());
  assertEquals([module.path, module.outFeatures, module.slice, others.length], [
    "transformer.h.0.attn.c_attn",
    16,
    undefined,
    0,
  ]);
});

Deno.test("makeTrainable() trains the layer in an attention and leaves what it computes", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = inOnePiece();
  const { model, trainable } = makeTrainable(base, findModules(base)[0]);
  const [before, after] = [await runTiny(runner, base), await runTiny(runner, model)];
  assert(difference(after, before).relative <= 1e-5);
  assertEquals([...trainable.values()].map(({ which, dims }) => [which, dims]), [
    ["weight", [16, 4]],
    ["bias", [16]],
  ]);
});

Deno.test("planQuantize() leaves the weight inside a fused attention as it is", () => {
  const base = causal();
  const plan = planQuantize(base, findModules(base), { bits: 8, minElements: 1 });
  assertEquals([plan.tasks.length, plan.model.graph.nodes], [0, base.graph.nodes]);
});

Deno.test("findModules() gives a fused attention that keeps a cache no layers", () => {
  const base = causal();
  const nodes = base.graph.nodes.map((node) => ({ ...node, outputs: ["y", "present"] }));
  assertEquals(findModules({ ...base, graph: { ...base.graph, nodes } }), []);
});
