/** Models of convolutions and recurrences train: gradients are those of differences, losses go down. */
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { assert, assertEquals } from "@std/assert";
import { int, ints, string } from "../../src/graph/attributes.ts";
import { float32, int64, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph, Model } from "../../src/graph/types.ts";
import { findModules } from "../../src/lora/modules.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import type { PlannedModelOptions } from "../../src/train/planned_options.ts";
import { normal } from "../helpers/directional.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";
import {
  adapted,
  assertGradientsOfDifferences,
  assertSame,
  batchOf,
  gradientsOf,
  rowsOf,
} from "../helpers/training_step.ts";

const [WORDS, WIDTH, HIDDEN, CLASSES] = [64, 8, 6, 3];

/** Gates of a recurrent operator, and its weights for so many directions. */
function recurrence(name: string, gates: number, size: number, directions: number) {
  return {
    [`${name}.w`]: normal([directions, gates * HIDDEN, size], 11, 0.5),
    [`${name}.r`]: normal([directions, gates * HIDDEN, HIDDEN], 12, 0.5),
    [`${name}.b`]: normal([directions, 2 * gates * HIDDEN], 13, 0.2),
  };
}

const FEATURES: Readonly<Record<string, Tensor>> = {
  "words.weight": normal([WORDS, WIDTH], 1),
  "model.layers.0.proj.weight": normal([WIDTH, WIDTH], 2, 0.4),
  "conv.weight": normal([WIDTH, WIDTH, 3], 3, 0.3),
  "norm.scale": normal([WIDTH], 4, 0.3),
  "norm.bias": normal([WIDTH], 5, 0.3),
  "norm.mean": normal([WIDTH], 6, 0.3),
  "norm.var": float32([WIDTH], Array.from({ length: WIDTH }, (_, i) => 0.5 + i / 4)),
  "channel": int64([1], [1]),
};

/** Tokens to features [s, n, WIDTH]: a linear layer, a convolution over what came before, a norm. */
const FEATURE_NODES: readonly TinyNode[] = [
  ["Gather", ["words.weight", "input_ids"], ["words"]],
  ["MatMul", ["words", "model.layers.0.proj.weight"], ["projected"]],
  ["Transpose", ["projected"], ["images"], { perm: ints([0, 2, 1]) }],
  ["Conv", ["images", "conv.weight"], ["convolved"], { pads: ints([2, 0]) }],
  ["BatchNormalization", ["convolved", "norm.scale", "norm.bias", "norm.mean", "norm.var"], [
    "normal",
  ]],
  ["HardSwish", ["normal"], ["active"]],
  ["Transpose", ["active"], ["steps"], { perm: ints([2, 0, 1]) }],
];

const TOKENS = {
  input_ids: ["int64", ["n", "s"]],
  attention_mask: ["int64", ["n", "s"]],
} as const;

/** A language model with an LSTM, whose last linear layer makes the logits. */
const LANGUAGE: Model = tinyModel({
  inputs: TOKENS,
  outputs: { logits: ["float32", ["n", "s", WORDS]] },
  initializers: {
    ...FEATURES,
    ...recurrence("lstm", 4, WIDTH, 1),
    "lm_head.weight": normal([HIDDEN, WORDS], 7),
  },
  nodes: [
    ...FEATURE_NODES,
    ["LSTM", ["steps", "lstm.w", "lstm.r", "lstm.b"], ["states"], { hidden_size: int(HIDDEN) }],
    ["Squeeze", ["states", "channel"], ["one"]],
    ["Transpose", ["one"], ["hidden"], { perm: ints([1, 0, 2]) }],
    ["MatMul", ["hidden", "lm_head.weight"], ["logits"]],
  ],
});

/** A recurrence over features, its weights outside of it and its bias inside. */
const CELL: Graph = {
  ...tinyModel({
    inputs: {},
    outputs: {},
    initializers: { bias: normal([HIDDEN], 22, 0.3) },
    nodes: [
      ["MatMul", ["element", "scan.w"], ["projected"]],
      ["MatMul", ["state", "scan.r"], ["recurrent"]],
      ["Add", ["projected", "recurrent"], ["sum"]],
      ["Add", ["sum", "bias"], ["biased"]],
      ["Tanh", ["biased"], ["next"]],
      ["Identity", ["next"], ["out"]],
    ],
  }).graph,
  inputs: ["state", "element"].map((name) => ({ name, type: { dtype: "float32" } })),
  outputs: ["next", "out"].map((name) => ({ name, type: { dtype: "float32" } })),
};

/** The same with a Scan in the place of the LSTM. */
const SCANNING: Model = tinyModel({
  inputs: TOKENS,
  outputs: { logits: ["float32", ["n", "s", WORDS]] },
  initializers: {
    ...FEATURES,
    "scan.w": normal([WIDTH, HIDDEN], 20, 0.5),
    "scan.r": normal([HIDDEN, HIDDEN], 21, 0.5),
    "at_batch": int64([1], [1]),
    "hidden_size": int64([1], [HIDDEN]),
    "lm_head.weight": normal([HIDDEN, WORDS], 7),
  },
  nodes: [
    ...FEATURE_NODES,
    ["Shape", ["steps"], ["shape"]],
    ["Gather", ["shape", "at_batch"], ["batch_size"]],
    ["Concat", ["batch_size", "hidden_size"], ["state_shape"], { axis: int(0) }],
    ["ConstantOfShape", ["state_shape"], ["zeros"]],
    ["Scan", ["zeros", "steps"], ["", "states"], {
      body: { kind: "graph", value: CELL },
      num_scan_inputs: int(1),
    }],
    ["Transpose", ["states"], ["hidden"], { perm: ints([1, 0, 2]) }],
    ["MatMul", ["hidden", "lm_head.weight"], ["logits"]],
  ],
});

/** A classifier of the last states of a GRU both ways, over as many tokens as the mask says. */
const CLASSIFIER: Model = tinyModel({
  inputs: TOKENS,
  outputs: { logits: ["float32", ["n", CLASSES]] },
  initializers: {
    ...FEATURES,
    ...recurrence("gru", 3, WIDTH, 2),
    "classifier.weight": normal([2 * HIDDEN, CLASSES], 8),
    "flat": int64([2], [0, 2 * HIDDEN]),
  },
  nodes: [
    ...FEATURE_NODES,
    ["ReduceSum", ["attention_mask", "channel"], ["counts"], { keepdims: int(0) }],
    ["Cast", ["counts"], ["lengths"], { to: int(6) }],
    ["GRU", ["steps", "gru.w", "gru.r", "gru.b", "lengths"], ["", "last"], {
      hidden_size: int(HIDDEN),
      direction: string("bidirectional"),
      linear_before_reset: int(1),
    }],
    ["Transpose", ["last"], ["by_sequence"], { perm: ints([1, 0, 2]) }],
    ["Reshape", ["by_sequence", "flat"], ["features"]],
    ["MatMul", ["features", "classifier.weight"], ["logits"]],
  ],
});

/** With the layer that makes the logits, and a step's length that suits it. */
const MODELS = {
  "a language model of convolution, norm and LSTM": [LANGUAGE, "causal", "lm_head", 1],
  "a language model of convolution, norm and Scan": [SCANNING, "causal", "lm_head", 0.3],
  "a classifier of convolution, norm and GRU both ways": [
    CLASSIFIER,
    "classification",
    "classifier",
    0.05,
  ],
} as const;

/** Rows of the vocabulary. */
const rows = (lengths: readonly number[]) =>
  rowsOf(lengths).map((row) => ({ ...row, ids: row.ids.map((id) => id % WORDS) }));

for (const [name, [base, objective, head, rate]] of Object.entries(MODELS)) {
  const batch = batchOf(rows([9, 6, 4]), 10, objective);
  const stepOver = (
    runner: PlannedModelOptions["runner"],
    targetModules: readonly string[],
    how: Partial<PlannedModelOptions> = {},
  ) =>
    new PlannedModel({ runner, ...adapted(base, { targetModules, rank: 2 }), objective, ...how });

  Deno.test(`${name}: gradients of adapters before and behind are those of differences`, async () => {
    assertEquals(findModules(base).map(({ path }) => path), ["model.layers.0.proj", head]);
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOver(runner, ["proj", head]);
    assertEquals(step.parameters.length, 4);
    await assertGradientsOfDifferences(step, batch);
  });

  Deno.test(`${name}: the gradient is the same unpacked, with activations kept, and in shards`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    using step = stepOver(runner, ["proj", head], { packing: false });
    const expected = await gradientsOf(step, [batch]);
    const whole = arithmeticOf({ kept: "whole" });
    for (const how of [{}, { keepBytes: 1e8, arithmetic: whole }, { shards: 2 }]) {
      using other = stepOver(runner, ["proj", head], how);
      assertSame(await gradientsOf(other, [batch]), expected, 2e-5);
    }
  });

  Deno.test(`${name}: the loss goes down with LoRA on the last linear layer`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOver(runner, [head]);
    const losses: number[] = [];
    for (let i = 0; i < 20; i++) {
      const { loss, gradients } = await gradientsOf(step, [batch]);
      losses.push(loss);
      for (const { name, dims, value } of step.parameters) {
        const gradient = gradients.get(name)!;
        value.write(
          float32(dims, Array.from(toNumbers(value.read()), (x, j) => x - rate * gradient[j])),
        );
      }
    }
    assert(losses.at(-1)! < 0.9 * losses[0], `${losses}`);
  });

  Deno.test(`${name}: batches of other lengths and sizes have the gradient of a plan of their own`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOver(runner, ["proj", head]);
    for (const [lengths, length] of [[[9, 6, 4], 10], [[5, 3], 5], [[12], 12], [[7, 7, 7, 2], 8]]) {
      const other = batchOf(rows(lengths as number[]), length as number, objective);
      using fresh = stepOver(runner, ["proj", head]);
      assertSame(await gradientsOf(step, [other]), await gradientsOf(fresh, [other]), 2e-5);
    }
  });
}
