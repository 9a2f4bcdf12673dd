/**
 * Attention of operator sets 23 and 24, lowered to primitive operators.
 *
 * Training runs whole sequences, so the past must be empty.
 */
import { floatAttribute, intAttribute, ints } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { areEqual, plus } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { label, required, unsupported } from "./args.ts";
import { scalarLike } from "./broadcast.ts";
import { attend, biasMask, MASKED } from "./contrib/attention_core.ts";
import type { OpRule } from "./types.ts";

/** Shapes of Q, K and V, read alike from 3-D [B, T, heads·size] and 4-D [B, heads, T, size]. */
function shapes(node: Node, query: Known, value: Known) {
  const flat = query.dims.length === 3;
  const heads = flat ? intAttribute(node, "q_num_heads", 0) : query.dims[1];
  const keyHeads = flat ? intAttribute(node, "kv_num_heads", 0) : value.dims[1];
  if (heads < 1 || keyHeads < 1 || heads % keyHeads !== 0) {
    throw new RangeError(
      `${label(node)}: ${heads} query heads must be a multiple of ${keyHeads} key heads`,
    );
  }
  const at = flat ? 1 : 2;
  return {
    flat,
    heads,
    keyHeads,
    batch: extentsOf(query.dims)[0],
    tokens: extentsOf(query.dims)[at],
    keys: extentsOf(value.dims)[at],
    size: flat ? query.dims[2] / heads : query.dims[3],
    valueSize: flat ? value.dims[2] / keyHeads : value.dims[3],
  };
}

const swapped = (b: GraphBuilder, value: string) =>
  b.op("Transpose", [value], { perm: ints([0, 2, 1, 3]) });

/** The mask input as [B or 1, keyHeads or 1, T or 1, G or 1, L] to add to the scores. */
function maskOf(b: GraphBuilder, node: Node, keyHeads: number, keys: Extent): string {
  const given = node.inputs[3];
  const { dtype } = b.known(given);
  const shape = b.shape(given);
  const last = shape[shape.length - 1];
  if (!areEqual(last, keys)) {
    throw unsupported(node, `its attn_mask is for ${last} of ${keys} keys`);
  }
  const bias = dtype === "bool"
    ? b.op("Where", [
      given,
      scalarLike(b, node.inputs[0], 0),
      scalarLike(b, node.inputs[0], MASKED),
    ])
    : given;
  const full = [...new Array(4 - shape.length).fill(1), ...shape];
  return biasMask(b, b.reshape(bias, full), keyHeads);
}

export const Attention: OpRule = {
  opType: "Attention",
  domain: "",
  since: 23,
  attributes: [
    "is_causal",
    "kv_num_heads",
    "q_num_heads",
    "qk_matmul_output_mode", // only says what the refused output is
    "scale",
    "softcap",
    "softmax_precision",
  ],
  inputs: "3..7",
  outputs: "1..4",
  remark: "without cached keys, nonpad_kv_seqlen and qk_matmul_output",
  traits: { kind: "attention", rows: "mixed" },
  infer(node, inputs) {
    const query = required(node, inputs, 0);
    const { dtype } = query;
    const s = shapes(node, query, required(node, inputs, 2));
    const past = inputs[4] === undefined ? 0 : extentsOf(inputs[4].dims)[2];
    const total = plus(s.keys, past);
    return [
      {
        dtype,
        dims: asDims(
          s.flat
            ? [s.batch, s.tokens, s.heads * s.valueSize]
            : [s.batch, s.heads, s.tokens, s.valueSize],
        ),
      },
      { dtype, dims: asDims([s.batch, s.keyHeads, total, s.size]) },
      { dtype, dims: asDims([s.batch, s.keyHeads, total, s.valueSize]) },
      { dtype, dims: asDims([s.batch, s.heads, s.tokens, total]) },
    ].slice(0, node.outputs.length);
  },
  lower(b, node, { needed, attention }) {
    const [q, k, v, mask, pastKey, pastValue, lengths] = node.inputs;
    if (needed[3]) throw unsupported(node, `output "qk_matmul_output" is not implemented`);
    if (lengths) throw unsupported(node, `input "nonpad_kv_seqlen" is not implemented`);
    for (const past of [pastKey, pastValue]) {
      if (past && b.dims(past)[2] !== 0) throw unsupported(node, "its past must be empty");
    }
    const s = shapes(node, b.known(q), b.known(v));
    const split = (value: string, heads: number, size: number) =>
      s.flat ? b.reshape(value, [s.batch, b.shape(value)[1], heads, size]) : swapped(b, value);
    const [key, value] = [split(k, s.keyHeads, s.size), split(v, s.keyHeads, s.valueSize)];
    const masks: string[] = [];
    if (mask) masks.push(maskOf(b, node, s.keyHeads, s.keys));
    const mixed = attend(b, {
      query: split(q, s.heads, s.size),
      key,
      value,
      scale: floatAttribute(node, "scale", 1 / Math.sqrt(s.size)),
      softcap: floatAttribute(node, "softcap", 0),
      masks,
      causal: intAttribute(node, "is_causal", 0) === 1 ? {} : undefined,
    }, attention);
    const y = s.flat
      ? mixed
      : swapped(b, b.reshape(mixed, [s.batch, s.tokens, s.heads, s.valueSize]));
    return [y, needed[1] ? swapped(b, key) : "", needed[2] ? swapped(b, value) : "", ""];
  },
};
