/** Attention over a batch's sizes: built and differentiated, it is at every batch what it is of numbers. */
import { float, int } from "../../src/graph/attributes.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import { plus, times } from "../../src/graph/extent_arithmetic.ts";
import type { Extent } from "../../src/graph/size.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Node } from "../../src/graph/types.ts";
import { attend, attendByPositions } from "../../src/ops/contrib/attention_core.ts";
import type { AttentionInputs } from "../../src/ops/contrib/attention_form.ts";
import { ruleOf } from "../../src/ops/registry.ts";
import type { TrainingRule } from "../../src/ops/types.ts";
import { PACKED, SHARED } from "../../src/plan/names.ts";
import { attendPacked, type PackedTokens } from "../../src/plan/packed_attention.ts";
import { assertBuildsAtEveryBatch, type Emit } from "../helpers/over_sizes.ts";

const [HEADS, KEY_HEADS, SIZE, VALUE_SIZE] = [4, 2, 8, 4];

/** As many blocks at all batches of the tests: 3, or 5 of packed rows. */
const long = (length: Extent) => plus(length, 170);

/** Queries, keys and values of so many sequences of so many tokens. */
function inputsOf(b: GraphBuilder, batch: Extent, tokens: Extent, how: Partial<AttentionInputs>) {
  const heads = (name: string, count: number, size: number) =>
    b.input(name, "float32", [batch, tokens, count, size]);
  return {
    query: heads("query", HEADS, SIZE),
    key: heads("key", KEY_HEADS, SIZE),
    value: heads("value", KEY_HEADS, VALUE_SIZE),
    ...{ scale: 0.3, masks: [], ...how },
  };
}

const sinkOf = (b: GraphBuilder) => b.initializer("sink", float32([HEADS], [0.5, -1, 2, 0]));
const maskOf = (b: GraphBuilder, batch: Extent, tokens: Extent) =>
  b.input("mask", "float32", [batch, 1, 1, 1, tokens]);

/** Lowers a node of a rule. */
function lowered(
  b: GraphBuilder,
  node: Pick<Node, "opType" | "domain" | "inputs"> & Partial<Node>,
): readonly string[] {
  const whole = { name: "n", outputs: ["y"], attributes: {}, ...node };
  const rule = ruleOf(whole) as TrainingRule;
  return rule.lower!(b, whole, { opset: 23, needed: [true] })!;
}

const microsoft = { domain: "com.microsoft" };
const tables = (b: GraphBuilder) => {
  const table = float32([300, 4], new Float32Array(300 * 4).fill(0.5));
  return ["cos", "sin"].map((name) => b.initializer(name, table));
};

const blocksOf = (tokens: string, least = 64) => `blocks of ${least} or more(${tokens})`;
const LONG = blocksOf("length + 170");
const end = (block: number, count: number) => `end ${block} of ${count} blocks(0, length + 170)`;
/** Whether the first key that a block sees by a window of 20 is no more than the `most`th. */
const ofWindow = (count: number, most: number) =>
  Array.from({ length: count - 1 }, (_, i) => `${end(i + 1, count)} + -19 <= ${most}`);

const CASES: Readonly<Record<string, readonly [Emit, ...asked: string[]]>> = {
  "every token sees all": [(b, { batch, length }) => {
    const masks = [maskOf(b, batch, length)];
    return [attend(b, inputsOf(b, batch, length, { masks }), undefined)];
  }],
  "in blocks": [(b, { batch, length }) => {
    return [attend(b, inputsOf(b, batch, long(length), { causal: {} }), undefined)];
  }, LONG],
  "in blocks with a window, masks, a bound of scores and a sink": [
    (b, { batch, length }) => {
      const masks = [maskOf(b, batch, long(length))];
      const how = { causal: { window: 20 }, masks, softcap: 3, sink: sinkOf(b) };
      return [attend(b, inputsOf(b, batch, long(length), how), undefined)];
    },
    LONG,
    ...ofWindow(3, 0),
    `${end(1, 3)} <= 20`,
    ...ofWindow(3, -1),
  ],
  "a beginning that all sequences share": [(b, { batch, length }) => {
    const masks = [maskOf(b, batch, long(length))];
    const inputs = inputsOf(b, batch, long(length), { causal: {}, masks });
    return [attendByPositions(b, inputs, length)];
  }, blocksOf("length")],
  "GroupQueryAttention": [
    (b, { batch, length }) => {
      const shape = (heads: number) => [batch, long(length), heads * SIZE];
      b.input("query", "float32", shape(HEADS));
      for (const name of ["key", "value"]) b.input(name, "float32", shape(KEY_HEADS));
      return lowered(b, {
        ...{ ...microsoft, opType: "GroupQueryAttention" },
        inputs: ["query", "key", "value", "", "", "", "", ...tables(b)],
        attributes: { num_heads: int(HEADS), kv_num_heads: int(KEY_HEADS), do_rotary: int(1) },
      }).slice(0, 1);
    },
    "length + 170 <= 300",
    LONG,
    "4*length + 680 <= 4194304",
  ],
  "MultiHeadAttention with a bias and a padding mask": [(b, { batch, length }) => {
    const inputs = ["query", "key", "value"];
    for (const name of inputs) b.input(name, "float32", [batch, length, HEADS * SIZE]);
    b.input("bias", "float32", [3 * HEADS * SIZE]);
    b.input("lengths", "int32", [batch]);
    return lowered(b, {
      ...{ ...microsoft, opType: "MultiHeadAttention", inputs: [...inputs, "bias", "lengths"] },
      attributes: { num_heads: int(HEADS) },
    }).slice(0, 1);
  }],
  "Attention of BERT": [(b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 16]);
    b.input("weights", "float32", [16, 3 * HEADS * SIZE]);
    b.input("mask", "int32", [times(2, batch)]);
    return lowered(b, {
      ...{ ...microsoft, opType: "Attention", inputs: ["x", "weights", "", "mask"] },
      attributes: { num_heads: int(HEADS), mask_filter_value: float(-1e4) },
    }).slice(0, 1);
  }],
  "Attention of operator set 23": [(b, { batch, length }) => {
    const tokens = long(length);
    b.input("query", "float32", [batch, HEADS, tokens, SIZE]);
    for (const name of ["key", "value"]) b.input(name, "float32", [batch, KEY_HEADS, tokens, SIZE]);
    b.input("mask", "float32", [tokens, tokens]);
    const inputs = ["query", "key", "value", "mask"];
    return lowered(b, {
      ...{ domain: "", opType: "Attention", inputs },
      attributes: { is_causal: int(1) },
    }).slice(0, 1);
  }, LONG],
  "RotaryEmbedding with a row of its tables for each token": [(b, { batch, length }) => {
    b.input("x", "float32", [batch, length, HEADS * SIZE]);
    for (const name of ["cos", "sin"]) b.input(name, "float32", [1, length, SIZE / 2]);
    return lowered(b, {
      ...{ domain: "", opType: "RotaryEmbedding", inputs: ["x", "cos", "sin"] },
      attributes: { num_heads: int(HEADS) },
    });
  }],
};

for (const [name, [emit, ...asked]] of Object.entries(CASES)) {
  Deno.test(`attend() builds and differentiates over sizes what it does at every batch: ${name}`, () => {
    assertBuildsAtEveryBatch(emit, asked);
  });
}

/** Attention of packed rows. */
const packed = (
  how: Partial<AttentionInputs> & { readonly isPadded?: boolean },
  of: (sizes: Parameters<Emit>[1]) => Omit<PackedTokens, "names">,
): Emit =>
(b, sizes) => {
  const { rows } = sizes;
  const where = of(sizes);
  const { batch, length, prefixSums } = where;
  const names = prefixSums === undefined ? PACKED : SHARED;
  b.input(names.positions, "int64", [rows]);
  b.input(names.rows, "int64", [times(batch, length)]);
  const others = how.isPadded && { masks: [maskOf(b, batch, length)], sink: sinkOf(b) };
  return [attendPacked(b, inputsOf(b, 1, rows, { ...how, ...others }), { ...where, names })];
};
const PACKED_LONG = blocksOf("length + 170", 42);

const PACKED_CASES: Readonly<Record<string, readonly [Emit, ...asked: string[]]>> = {
  "every token sees all": [packed({}, ({ batch, length }) => ({ batch, length, common: 0 }))],
  "in blocks": [
    // A node for each sequence adds up the cotangents of keys.
    packed({ causal: {} }, ({ length }) => ({ batch: 3, length: long(length), common: 0 })),
    PACKED_LONG,
  ],
  "a window, a bound of scores and prefixes": [
    packed(
      { causal: { window: 20 }, softcap: 3 },
      ({ batch, length }) => ({
        ...{ batch, length: long(length), common: 0, prefixSums: "together" },
      }),
    ),
    PACKED_LONG,
    ...ofWindow(5, 0),
    ...ofWindow(5, -1),
    `${end(1, 5)} <= 20`,
  ],
  "masks and a sink, sequence by sequence": [
    packed({ causal: {}, isPadded: true }, ({ length }) => ({
      ...{ batch: 3, length: long(length), common: length, prefixSums: "by sequence" },
    })),
    blocksOf("length", 42),
  ],
  "a common beginning": [
    packed({ causal: {} }, ({ batch, length }) => ({
      ...{ batch, length: long(length), common: length, prefixSums: "together" },
    })),
    blocksOf("length", 42),
  ],
  "a span of one sequence": [
    packed({ causal: {} }, ({ rows, length }) => ({
      ...{ batch: 1, length: plus(length, rows), common: 0 },
      span: { from: length, continues: true, attention: 0 },
    })),
    blocksOf("rows", 42),
  ],
};

for (const [name, [emit, ...asked]] of Object.entries(PACKED_CASES)) {
  Deno.test(`attendPacked() builds and differentiates over sizes what it does at every batch: ${name}`, () => {
    assertBuildsAtEveryBatch(emit, asked);
  });
}
