/**
 * com.microsoft.GroupQueryAttention: causal attention with grouped queries, as onnxruntime-genai
 * exports it.
 *
 * Training runs whole sequences without a cache, so the past must be empty. Rows are right-padded:
 * a causal row never sees the padding behind it, so `seqlens_k` changes no valid row.
 *
 * A local window counts the query's own token, as ONNX Runtime does since 1.23 (pull request 25927);
 * older releases see one key more.
 */
import { floatAttribute, int, intAttribute, ints } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { asDims, extentsOf, sizedTensor } from "../../graph/extents.ts";
import { digestOfContents } from "../../graph/graph_text.ts";
import { areEqual, isAtMost, plus, productOf } from "../../graph/extent_arithmetic.ts";
import type { Extent } from "../../graph/size.ts";
import { int64, toNumbers } from "../../graph/tensor.ts";
import { MICROSOFT, type Node } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { attend, biasMask } from "./attention_core.ts";
import { castTo } from "../cast.ts";
import { scalarOf } from "../broadcast.ts";
import {
  namedInputs,
  refuse,
  refuseOutputs,
  requireAttribute,
  required,
  requiredKnown,
  shared,
} from "./support.ts";

const INPUTS = [
  "query",
  "key",
  "value",
  "past_key",
  "past_value",
  "seqlens_k",
  "total_sequence_length",
  "cos_cache",
  "sin_cache",
  "position_ids",
  "attention_bias",
  "head_sink",
  "!k_scale",
  "!v_scale",
  "q_norm_weight",
  "k_norm_weight",
  "!query_seqlens",
] as const;

const ATTRIBUTES = [
  "num_heads",
  "kv_num_heads",
  "scale",
  "softcap",
  "do_rotary",
  "rotary_interleaved",
  "local_window_size",
  "smooth_softmax",
  "qk_norm_epsilon",
  "q_norm_epsilon",
  "k_norm_epsilon",
  "causal",
  "kv_cache_bit_width",
  "k_quant_type",
  "v_quant_type",
  "qk_output",
  "sliding_window_cache",
];

/** Refuses what graft does not compute, and names it. */
function check(node: Node, needed: readonly boolean[]): void {
  requireAttribute(node, "causal", 1);
  requireAttribute(node, "kv_cache_bit_width", 0);
  requireAttribute(node, "k_quant_type", "NONE");
  requireAttribute(node, "v_quant_type", "NONE");
  requireAttribute(node, "qk_output", 0);
  refuseOutputs(node, needed, { 3: "output_qk" });
  // A cache that keeps only a window changes what is cached, not what attention sees of a prompt.
  if (intAttribute(node, "sliding_window_cache", 0) !== 0) {
    refuseOutputs(node, needed, { 1: "present_key", 2: "present_value" });
  }
}

function headCounts(node: Node): { heads: number; keyHeads: number } {
  const heads = intAttribute(node, "num_heads", 0);
  const keyHeads = intAttribute(node, "kv_num_heads", 0);
  if (heads < 1 || keyHeads < 1 || heads % keyHeads !== 0) {
    throw new RangeError(
      `Attributes of com.microsoft.GroupQueryAttention "${node.name}" do not fit: num_heads ${heads} must be a multiple of kv_num_heads ${keyHeads}`,
    );
  }
  return { heads, keyHeads };
}

/** Query, key and value as [B, T, heads · size], from one packed input or three. */
function split(
  b: GraphBuilder,
  query: string,
  key: string | undefined,
  value: string | undefined,
  heads: number,
  keyHeads: number,
): readonly string[] {
  if (key !== undefined && value !== undefined) return [query, key, value];
  const size = b.dims(query)[2] / (heads + 2 * keyHeads);
  const sizes = b.int64s([heads * size, keyHeads * size, keyHeads * size]);
  return b.ops("Split", [query, sizes], 3, { axis: int(2) });
}

/** The rows of a rotary table that positions 0 to `tokens` - 1 need, shared by all layers. */
function firstRows(b: GraphBuilder, node: Node, table: string, tokens: Extent): string {
  const { dims, value, dtype } = b.known(table);
  if (!isAtMost(tokens, dims[0])) {
    throw new RangeError(
      `Rotary table "${table}" of com.microsoft.GroupQueryAttention "${node.name}" is too short for ${tokens} tokens: it has ${
        dims[0]
      } rows`,
    );
  }
  if (dims[0] === tokens) return table;
  return shared(b, `rows of ${table} ${tokens}`, () => {
    if (value === undefined) {
      return b.op("Slice", [table, b.int64s([0]), b.int64s([tokens]), b.int64s([0])]);
    }
    const { bytes } = value;
    const rowBytes = bytes.byteLength / dims[0];
    const first = sizedTensor(
      `first rows of ${digestOfContents(value)}`,
      dtype,
      [tokens, dims[1]],
      [tokens],
      firstOf(bytes, rowBytes),
    );
    return b.constant(first, `${table}.${tokens}`);
  });
}

/** In a scope of its own: what follows from sizes outlives the builder. */
const firstOf = (bytes: Uint8Array, rowBytes: number) => (count: number) =>
  bytes.subarray(0, rowBytes * count);

/** Rotates heads of [B, T, heads · size]. */
function rotate(
  b: GraphBuilder,
  node: Node,
  x: string,
  heads: number,
  table: { readonly cos: string; readonly sin: string; readonly positions: string },
): string {
  const { dims } = b.known(table.cos);
  return b.microsoft("RotaryEmbedding", [x, table.positions, table.cos, table.sin], {
    num_heads: int(heads),
    rotary_embedding_dim: int(2 * dims[1]),
    interleaved: int(intAttribute(node, "rotary_interleaved", 0)),
  });
}

/**
 * Rotary tables and the position of the first token. As in the kernels for a first prompt, all rows count up
 * from `position_ids`' first element, or from 0.
 */
function rotaryTable(
  b: GraphBuilder,
  node: Node,
  cos: string,
  sin: string,
  positionIds: string | undefined,
  tokens: Extent,
): { cos: string; sin: string; positions: string } {
  if (positionIds === undefined) {
    return {
      cos: firstRows(b, node, cos, tokens),
      sin: firstRows(b, node, sin, tokens),
      positions: b.int64s([0]),
    };
  }
  const positions = shared(b, `first of ${positionIds}`, () => {
    const { value } = b.known(positionIds);
    if (value !== undefined) return b.constant(int64([1], [toNumbers(value)[0]]));
    const flat = b.reshape(positionIds, [productOf(b.shape(positionIds))]);
    return b.op("Slice", [flat, b.int64s([0]), b.int64s([1]), b.int64s([0])]);
  });
  return { cos, sin, positions };
}

/** Root mean square normalisation of each head of [B, T, heads · size]. */
function normalizeHeads(
  b: GraphBuilder,
  x: string,
  weight: string,
  heads: number,
  epsilon: number,
): string {
  const [batch, tokens] = b.shape(x);
  const hidden = b.dims(x)[2];
  const split = b.reshape(x, [batch, tokens, heads, hidden / heads]);
  const normal = b.op("SimplifiedLayerNormalization", [split, weight], {
    axis: int(-1),
    epsilon: { kind: "float", value: epsilon },
    stash_type: int(1),
  });
  return b.reshape(normal, [batch, tokens, hidden]);
}

/** Refuses a cache that holds tokens. */
function checkPast(b: GraphBuilder, node: Node, name: string, past: string | undefined): void {
  if (past !== undefined && b.dims(past)[2] !== 0) {
    refuse(node, `input "${name}" with ${b.dims(past)[2]} cached tokens`);
  }
}

export const GroupQueryAttention: OpRule = {
  opType: "GroupQueryAttention",
  domain: MICROSOFT,
  since: 1,
  attributes: ATTRIBUTES,
  inputs: "7..17",
  outputs: "1..4",
  remark: "causal, without cached keys",
  traits: { kind: "attention", rows: "mixed" },

  infer(node, inputs) {
    const { heads, keyHeads } = headCounts(node);
    const { dtype, dims } = requiredKnown(node, "query", inputs, 0);
    const [batch, tokens] = extentsOf(dims);
    const hidden = dims[2];
    const size = inputs[1] === undefined ? hidden / (heads + 2 * keyHeads) : hidden / heads;
    const past = inputs[3]?.dims[2] ?? 0;
    const keys = inputs[1] === undefined ? tokens : extentsOf(inputs[1].dims)[1];
    const present = { dtype, dims: asDims([batch, keyHeads, plus(past, keys), size]) };
    return [{ dtype, dims: asDims([batch, tokens, heads * size]) }, present, present];
  },

  lower(b, node, { needed, attention }) {
    check(node, needed);
    const inputs = namedInputs(node, INPUTS);
    const { heads, keyHeads } = headCounts(node);
    checkPast(b, node, "past_key", inputs.past_key);
    checkPast(b, node, "past_value", inputs.past_value);

    let [query, key, value] = split(
      b,
      required(node, "query", inputs.query),
      inputs.key,
      inputs.value,
      heads,
      keyHeads,
    );
    const [batch, tokens] = b.shape(query);
    const size = b.dims(query)[2] / heads;
    if (!areEqual(b.shape(key)[1], tokens)) {
      refuse(node, 'an input "key" of another length than "query"');
    }

    const { q_norm_weight, k_norm_weight } = inputs;
    if (q_norm_weight !== undefined && k_norm_weight !== undefined) {
      const epsilon = floatAttribute(node, "qk_norm_epsilon", 1e-6);
      const epsilonQ = floatAttribute(node, "q_norm_epsilon", epsilon);
      const epsilonK = floatAttribute(node, "k_norm_epsilon", epsilon);
      query = normalizeHeads(b, query, q_norm_weight, heads, epsilonQ);
      key = normalizeHeads(b, key, k_norm_weight, keyHeads, epsilonK);
    } else if (q_norm_weight !== undefined || k_norm_weight !== undefined) {
      refuse(node, 'input "q_norm_weight" or "k_norm_weight" without the other');
    }

    if (intAttribute(node, "do_rotary", 0) === 1) {
      const cos = required(node, "cos_cache", inputs.cos_cache);
      const sin = required(node, "sin_cache", inputs.sin_cache);
      const table = rotaryTable(b, node, cos, sin, inputs.position_ids, tokens);
      query = rotate(b, node, query, heads, table);
      key = rotate(b, node, key, keyHeads, table);
    }

    key = b.reshape(key, [batch, tokens, keyHeads, size]);
    value = b.reshape(value, [batch, tokens, keyHeads, size]);
    const window = intAttribute(node, "local_window_size", -1);
    const bias = inputs.attention_bias;
    const output = attend(b, {
      query: b.reshape(query, [batch, tokens, heads, size]),
      key,
      value,
      scale: floatAttribute(node, "scale", 0) || 1 / Math.sqrt(size),
      softcap: floatAttribute(node, "softcap", 0),
      masks: bias === undefined ? [] : [biasMask(b, bias, keyHeads)],
      causal: { window: window > 0 ? window : undefined },
      sink: sinkOf(b, node, inputs.head_sink, heads, b.known(query).dtype),
    }, attention);
    const present = (x: string) => b.op("Transpose", [x], { perm: ints([0, 2, 1, 3]) });
    return [output, needed[1] ? present(key) : "", needed[2] ? present(value) : ""];
  },
};

/** The extra score per head, [H]: the model's own, or 0 for a smooth softmax. */
function sinkOf(
  b: GraphBuilder,
  node: Node,
  headSink: string | undefined,
  heads: number,
  dtype: Parameters<typeof scalarOf>[1],
): string | undefined {
  if (headSink !== undefined) return castTo(b, headSink, dtype);
  if (intAttribute(node, "smooth_softmax", 0) !== 1) return undefined;
  return b.op("Expand", [scalarOf(b, dtype, 0), b.int64s([heads])]);
}
