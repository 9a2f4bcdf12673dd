/** com.microsoft.EmbedLayerNormalization: the sum of BERT's three embeddings, normalised. */
import { float, floatAttribute, int } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { int32 } from "../../graph/tensor.ts";
import { MICROSOFT, type Node } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { cast, namedInputs, onlyAttributes, required, requiredKnown } from "./support.ts";

/** Position embeddings, [B or 1, S, hidden]: those of 0 to S-1 unless the node names others. */
function positions(b: GraphBuilder, table: string, ids: string | undefined, tokens: number) {
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
      `Inputs "segment_ids" and "segment_embedding" of com.microsoft.EmbedLayerNormalization "${node.name}" belong together: only one is present`,
    );
  }
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
    const ids = required(node, "input_ids", inputs.input_ids);
    const [batch, tokens] = b.dims(ids);
    const { segment_ids, segment_embedding } = inputs;
    checkSegments(node, segment_ids, segment_embedding);

    const words = required(node, "word_embedding", inputs.word_embedding);
    const table = required(node, "position_embedding", inputs.position_embedding);
    let sum = b.op("Add", [
      b.op("Gather", [words, ids], { axis: int(0) }),
      positions(b, table, inputs.position_ids, tokens),
    ]);
    if (segment_ids !== undefined && segment_embedding !== undefined) {
      const segments = b.op("Gather", [segment_embedding, segment_ids], { axis: int(0) });
      sum = b.op("Add", [sum, segments]);
    }
    const normal = b.op("LayerNormalization", [
      sum,
      required(node, "gamma", inputs.gamma),
      required(node, "beta", inputs.beta),
    ], {
      axis: int(-1),
      epsilon: float(floatAttribute(node, "epsilon", 1e-12)),
      stash_type: int(1),
    });
    return [normal, needed[1] ? maskIndex(b, inputs.mask, batch) : "", sum];
  },
};
