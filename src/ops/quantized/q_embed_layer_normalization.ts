/**
 * com.microsoft.QEmbedLayerNormalization: EmbedLayerNormalization whose tables and weights are 8-bit
 * integers, each with one scale and one zero point.
 *
 * Rows are looked up as integers, so that no table is ever in memory as floats.
 */
import { asDims, extentsOf } from "../../graph/extents.ts";
import { MICROSOFT } from "../../graph/types.ts";
import { embedded, type EmbeddingWeight } from "../contrib/embed_layer_normalization.ts";
import { namedInputs, required, requiredKnown } from "../contrib/support.ts";
import type { OpRule } from "../types.ts";

/** Quantised inputs in the schema's order, their scales and their zero points. */
const QUANTISED = [
  "word_embedding",
  "position_embedding",
  "segment_embedding",
  "gamma",
  "beta",
] as const satisfies readonly EmbeddingWeight[];

const scaleOf = <T extends string>(name: T) => `${name}_scale` as const;
const zeroPointOf = <T extends string>(name: T) => `${name}_zero_point` as const;

const INPUTS = [
  "input_ids",
  "segment_ids",
  ...QUANTISED,
  "mask",
  ...QUANTISED.map(scaleOf),
  ...QUANTISED.map(zeroPointOf),
] as const;

export const QEmbedLayerNormalization: OpRule = {
  opType: "QEmbedLayerNormalization",
  domain: MICROSOFT,
  since: 1,
  attributes: ["epsilon"],
  inputs: "13..18",
  outputs: "1..2",
  traits: { kind: "normalization", rows: "mixed" },

  infer(node, inputs) {
    const ids = extentsOf(requiredKnown(node, "input_ids", inputs, 0).dims);
    const { dims: [, hidden] } = requiredKnown(node, "word_embedding", inputs, 2);
    const { dtype } = requiredKnown(node, "word_embedding_scale", inputs, 8);
    return [
      { dtype, dims: asDims([...ids, hidden]) },
      { dtype: "int32", dims: asDims([ids[0]]) },
    ];
  },

  lower(b, node, { needed }) {
    const inputs = namedInputs(node, INPUTS);
    const scalar = (value: string) => b.reshape(value, []);
    const floats = (rows: string, of: EmbeddingWeight) => {
      const scale = required(node, scaleOf(of), inputs[scaleOf(of)]);
      const zeroPoint = inputs[zeroPointOf(of)];
      return b.op("DequantizeLinear", [
        rows,
        scalar(scale),
        ...(zeroPoint === undefined ? [] : [scalar(zeroPoint)]),
      ]);
    };
    const [normal, maskIndex] = embedded(b, node, inputs, needed, floats);
    return [normal, maskIndex];
  },
};
