/** com.microsoft.MultiHeadAttention: attention over projected queries, keys and values. */
import { floatAttribute, int, intAttribute, ints } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { asDims, extentsOf } from "../../graph/extents.ts";
import { plus } from "../../graph/extent_arithmetic.ts";
import { MICROSOFT, type Node } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { attend, biasMask } from "./attention_core.ts";
import { MASK_FILTER, paddingMask } from "./padding_mask.ts";
import { namedInputs, refuse, refuseOutputs, required, requiredKnown } from "./support.ts";

const INPUTS = [
  "query",
  "key",
  "value",
  "bias",
  "key_padding_mask",
  "attention_bias",
  "past_key",
  "past_value",
  "!past_sequence_length",
  "!cache_indirection",
] as const;

/** Queries, keys and values, each [B, length, heads, size]. */
type Heads = readonly [query: string, key: string, value: string];

/** Splits [B, length, heads, parts, size] into its parts. */
function unpack(b: GraphBuilder, packed: string, parts: number): readonly string[] {
  const [batch, length, heads, , size] = b.shape(packed);
  const sizes = b.int64s(Array.from({ length: parts }, () => 1));
  return b.ops("Split", [packed, sizes], parts, { axis: int(3) })
    .map((x) => b.reshape(x, [batch, length, heads, size]));
}

/** Heads of [B, length, heads · size], or of [B, heads, length, size]. */
function asHeads(b: GraphBuilder, x: string, heads: number): string {
  const [batch, length] = b.shape(x);
  const dims = b.dims(x);
  if (dims.length === 4) return b.op("Transpose", [x], { perm: ints([0, 2, 1, 3]) });
  return b.reshape(x, [batch, length, heads, dims[2] / heads]);
}

function splitHeads(
  b: GraphBuilder,
  node: Node,
  query: string,
  key: string | undefined,
  value: string | undefined,
): Heads {
  const heads = intAttribute(node, "num_heads", 1);
  if (b.dims(query).length === 5) {
    const [q, k, v] = unpack(b, query, 3);
    return [q, k, v];
  }
  const q = asHeads(b, query, heads);
  const keys = required(node, "key", key);
  if (b.dims(keys).length === 5) {
    const [k, v] = unpack(b, keys, 2);
    return [q, k, v];
  }
  return [q, asHeads(b, keys, heads), asHeads(b, required(node, "value", value), heads)];
}

/** Adds the slices of a bias [hidden + hidden + valueHidden]. */
function addBias(b: GraphBuilder, heads: Heads, bias: string): Heads {
  const sizes = heads.map((x) => b.dims(x)[2] * b.dims(x)[3]);
  const parts = b.ops("Split", [bias, b.int64s(sizes)], 3, { axis: int(0) });
  const [q, k, v] = heads.map((x, i) => b.op("Add", [x, b.reshape(parts[i], b.shape(x).slice(2))]));
  return [q, k, v];
}

export const MultiHeadAttention: OpRule = {
  opType: "MultiHeadAttention",
  domain: MICROSOFT,
  since: 1,
  attributes: ["num_heads", "unidirectional", "scale", "mask_filter_value"],
  inputs: "1..10",
  outputs: "1..4",
  remark: "without cached keys",
  traits: { kind: "attention", rows: "mixed" },

  infer(node, inputs) {
    const { dtype, dims: query } = requiredKnown(node, "query", inputs, 0);
    const heads = intAttribute(node, "num_heads", 1);
    const packed = query.length === 5 ? query : inputs[1]?.dims;
    const key = query.length === 5 ? query : requiredKnown(node, "key", inputs, 1).dims;
    const value = inputs[2]?.dims;
    const [batch, tokens] = extentsOf(query);
    const size = query.length === 5 ? query[4] : query[2] / heads;
    const valueSize = packed?.length === 5
      ? packed[4]
      : value?.length === 4
      ? value[3]
      : (value?.[2] ?? size * heads) / heads;
    const past = inputs[6] === undefined ? 0 : extentsOf(inputs[6].dims)[2];
    const keys = plus(past, extentsOf(key)[key.length === 4 ? 2 : 1]);
    const present = (last: number) => ({ dtype, dims: asDims([batch, heads, keys, last]) });
    return [
      { dtype, dims: asDims([batch, tokens, heads * valueSize]) },
      present(size),
      present(valueSize),
      { dtype, dims: asDims([batch, heads, tokens, keys]) },
    ];
  },

  lower(b, node, { needed, attention }) {
    refuseOutputs(node, needed, { 3: "qk" });
    const inputs = namedInputs(node, INPUTS);
    for (const name of ["past_key", "past_value"] as const) {
      const past = inputs[name];
      if (past !== undefined && b.dims(past)[2] !== 0) {
        refuse(node, `input "${name}" with ${b.dims(past)[2]} cached tokens`);
      }
    }
    let split = splitHeads(
      b,
      node,
      required(node, "query", inputs.query),
      inputs.key,
      inputs.value,
    );
    if (inputs.bias !== undefined) split = addBias(b, split, inputs.bias);
    const [query, key, value] = split;
    const [batch] = b.shape(query);
    const { 2: heads, 3: size } = b.dims(query);
    const keys = b.shape(key)[1];

    const causal = intAttribute(node, "unidirectional", 0) === 1 ? {} : undefined;
    const masks: string[] = [];
    const mask = inputs.key_padding_mask;
    if (mask !== undefined) {
      const filter = floatAttribute(node, "mask_filter_value", MASK_FILTER);
      const options = { input: "key_padding_mask", mask, batch, keys, filter };
      masks.push(paddingMask(b, node, options));
    }
    if (inputs.attention_bias !== undefined) {
      masks.push(biasMask(b, inputs.attention_bias, heads));
    }
    const scale = floatAttribute(node, "scale", 0) || 1 / Math.sqrt(size);
    const output = attend(b, { query, key, value, scale, masks, causal }, attention);
    const present = (x: string) => b.op("Transpose", [x], { perm: ints([0, 2, 1, 3]) });
    return [output, needed[1] ? present(key) : "", needed[2] ? present(value) : "", ""];
  },
};
