/** com.microsoft.EmbedLayerNormalization: the sum of BERT's three embeddings, normalised. */
import { float, floatAttribute, int } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { int32 } from "../../graph/tensor.ts";
import { MICROSOFT, type Node, operatorName } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { cast, namedInputs, onlyAttributes, required, requiredKnown } from "./support.ts";

/** What an embedding layer reads: values by their names in the schema. */
export interface Embedding {
  /** [B, S] */
  readonly ids: string;
  readonly segmentIds?: string;
  /** Those of 0 to S-1 if absent. */
  readonly positionIds?: string;
  /** int32 [B, S], 1 where there is a token. */
  readonly mask?: string;
  readonly words: string;
  readonly positions: string;
  readonly segments?: string;
  readonly gamma: string;
  readonly beta: string;
}

/** What of an embedding layer has weights. */
export type EmbeddingPart = "words" | "positions" | "segments" | "gamma" | "beta";

/** Position embeddings, [B or 1, S, hidden]. */
function positionRows(b: GraphBuilder, table: string, ids: string | undefined, tokens: number) {
  if (ids !== undefined) return b.op("Gather", [table, ids], { axis: int(0) });
  const rows = b.op("Slice", [table, b.int64s([0]), b.int64s([tokens]), b.int64s([0])]);
  return b.reshape(rows, [1, tokens, b.dims(table)[1]]);
}

/** How many tokens of each row the mask shows, [B] int32; zeros without a mask, as the kernel. */
function maskIndex(b: GraphBuilder, mask: string | undefined, batch: number): string {
  if (mask === undefined) return b.constant(int32([batch], new Int32Array(batch)));
  const shown = b.op("Equal", [mask, b.constant(int32([], [1]))]);
  return b.op("ReduceSum", [cast(b, shown, "int32"), b.int64s([1])], { keepdims: int(0) });
}

function checkSegments(node: Node, ids: string | undefined, table: string | undefined): void {
  if ((ids === undefined) !== (table === undefined)) {
    throw new SyntaxError(
      `Inputs "segment_ids" and "segment_embedding" of ${
        operatorName(node)
      } "${node.name}" belong together: only one is present`,
    );
  }
}

/**
 * Emits an embedding layer.
 *
 * @param floats what rows of a part, or the part itself where it is a vector, are as floats
 * @returns the normalised sum, the mask index where `needed`, and the sum
 */
export function embedded(
  b: GraphBuilder,
  node: Node,
  layer: Embedding,
  needed: readonly boolean[],
  floats: (rows: string, part: EmbeddingPart) => string = (rows) => rows,
): readonly [normal: string, maskIndex: string, sum: string] {
  const { ids, segmentIds, segments, words, positions, gamma, beta } = layer;
  checkSegments(node, segmentIds, segments);
  const [batch, tokens] = b.dims(ids);
  const rows = (table: string, of: string) => b.op("Gather", [table, of], { axis: int(0) });
  let sum = b.op("Add", [
    floats(rows(words, ids), "words"),
    floats(positionRows(b, positions, layer.positionIds, tokens), "positions"),
  ]);
  if (segmentIds !== undefined && segments !== undefined) {
    sum = b.op("Add", [sum, floats(rows(segments, segmentIds), "segments")]);
  }
  const normal = b.op("LayerNormalization", [sum, floats(gamma, "gamma"), floats(beta, "beta")], {
    axis: int(-1),
    epsilon: float(floatAttribute(node, "epsilon", 1e-12)),
    stash_type: int(1),
  });
  return [normal, needed[1] ? maskIndex(b, layer.mask, batch) : "", sum];
}

export const embedLayerNormalization: OpRule = {
  opType: "EmbedLayerNormalization",
  domain: MICROSOFT,

  infer(node, inputs) {
    const ids = requiredKnown(node, "input_ids", inputs, 0);
    const { dtype, dims: [, hidden] } = requiredKnown(node, "word_embedding", inputs, 2);
    const output = { dtype, dims: [...ids.dims, hidden] };
    return [output, { dtype: "int32", dims: [ids.dims[0]] }, output];
  },

  lower(b, node, { needed }) {
    // mask_index_type only tells shape inference whether output 1 exists.
    onlyAttributes(node, ["epsilon", "mask_index_type"]);
    const inputs = namedInputs(node, [
      "input_ids",
      "segment_ids",
      "word_embedding",
      "position_embedding",
      "segment_embedding",
      "gamma",
      "beta",
      "mask",
      "position_ids",
    ]);
    const layer: Embedding = {
      ids: required(node, "input_ids", inputs.input_ids),
      segmentIds: inputs.segment_ids,
      positionIds: inputs.position_ids,
      mask: inputs.mask,
      words: required(node, "word_embedding", inputs.word_embedding),
      positions: required(node, "position_embedding", inputs.position_embedding),
      segments: inputs.segment_embedding,
      gamma: required(node, "gamma", inputs.gamma),
      beta: required(node, "beta", inputs.beta),
    };
    return embedded(b, node, layer, needed);
  },
};
