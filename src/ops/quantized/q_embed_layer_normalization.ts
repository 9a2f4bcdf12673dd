/**
 * com.microsoft.QEmbedLayerNormalization: EmbedLayerNormalization whose tables and weights are 8-bit
 * integers, each with one scale and one zero point.
 *
 * Rows are looked up as integers, so that no table is ever there in floats.
 */
import { MICROSOFT } from "../../graph/types.ts";
import {
  embedded,
  type Embedding,
  type EmbeddingPart,
} from "../contrib/embed_layer_normalization.ts";
import { namedInputs, onlyAttributes, required, requiredKnown } from "../contrib/support.ts";
import type { OpRule } from "../types.ts";

/** What is quantised, in the order in which the schema has them, their scales and their zero points. */
const QUANTISED = [
  "word_embedding",
  "position_embedding",
  "segment_embedding",
  "gamma",
  "beta",
] as const;

const NAMES: Readonly<Record<EmbeddingPart, typeof QUANTISED[number]>> = {
  words: "word_embedding",
  positions: "position_embedding",
  segments: "segment_embedding",
  gamma: "gamma",
  beta: "beta",
};

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

export const qEmbedLayerNormalization: OpRule = {
  opType: "QEmbedLayerNormalization",
  domain: MICROSOFT,

  infer(node, inputs) {
    const ids = requiredKnown(node, "input_ids", inputs, 0);
    const { dims: [, hidden] } = requiredKnown(node, "word_embedding", inputs, 2);
    const { dtype } = requiredKnown(node, "word_embedding_scale", inputs, 8);
    return [{ dtype, dims: [...ids.dims, hidden] }, { dtype: "int32", dims: [ids.dims[0]] }];
  },

  lower(b, node, { needed }) {
    onlyAttributes(node, ["epsilon"]);
    const inputs = namedInputs(node, INPUTS);
    const given = (name: typeof INPUTS[number]) => required(node, name, inputs[name]);
    const scalar = (value: string) => b.reshape(value, []);
    const floats = (rows: string, part: EmbeddingPart) => {
      const name = NAMES[part];
      const zeroPoint = inputs[zeroPointOf(name)];
      const scale = scalar(given(scaleOf(name)));
      return b.op("DequantizeLinear", [
        rows,
        scale,
        ...(zeroPoint === undefined ? [] : [scalar(zeroPoint)]),
      ]);
    };
    const layer: Embedding = {
      ids: given("input_ids"),
      segmentIds: inputs.segment_ids,
      mask: inputs.mask,
      words: given("word_embedding"),
      positions: given("position_embedding"),
      segments: inputs.segment_embedding,
      gamma: given("gamma"),
      beta: given("beta"),
    };
    const [normal, maskIndex] = embedded(b, node, layer, needed, floats);
    return [normal, maskIndex];
  },
};
