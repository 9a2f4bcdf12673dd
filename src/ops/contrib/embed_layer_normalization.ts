/** com.microsoft.EmbedLayerNormalization: the sum of BERT's three embeddings, normalised. */
import { float, floatAttribute, int } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { asDims, extentsOf, filledTensor } from "../../graph/extents.ts";
import type { Extent } from "../../graph/size.ts";
import { int32 } from "../../graph/tensor.ts";
import { MICROSOFT, type Node, operatorName } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { castTo } from "../cast.ts";
import { namedInputs, required, requiredKnown } from "./support.ts";

/** Inputs of an embedding layer as its schema names them, in its order. */
const INPUTS = [
  "input_ids",
  "segment_ids",
  "word_embedding",
  "position_embedding",
  "segment_embedding",
  "gamma",
  "beta",
  "mask",
  "position_ids",
] as const;

/** An input with weights. */
export type EmbeddingWeight =
  | "word_embedding"
  | "position_embedding"
  | "segment_embedding"
  | "gamma"
  | "beta";

/** Position embeddings, [B or 1, S, hidden]. */
function positionRows(b: GraphBuilder, table: string, ids: string | undefined, tokens: Extent) {
  if (ids !== undefined) return b.op("Gather", [table, ids], { axis: int(0) });
  const rows = b.op("Slice", [table, b.int64s([0]), b.int64s([tokens]), b.int64s([0])]);
  return b.reshape(rows, [1, tokens, b.dims(table)[1]]);
}

/** Number of tokens of each row that the mask shows, [B] int32; zeros without a mask, as in the kernel. */
function maskIndex(b: GraphBuilder, mask: string | undefined, batch: Extent): string {
  if (mask === undefined) {
    return b.constant(filledTensor("int32", [batch], int32([], [0]).bytes));
  }
  const shown = b.op("Equal", [mask, b.constant(int32([], [1]))]);
  return b.op("ReduceSum", [castTo(b, shown, "int32"), b.int64s([1])], { keepdims: int(0) });
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
 * @param inputs positions are 0 to S-1 if there are no `position_ids`
 * @param floats gives rows of a table, or a whole vector, as floats
 * @returns the normalised sum, the mask index if `needed`, and the sum
 */
export function embedded(
  b: GraphBuilder,
  node: Node,
  inputs: Readonly<Partial<Record<typeof INPUTS[number], string>>>,
  needed: readonly boolean[],
  floats: (rows: string, of: EmbeddingWeight) => string = (rows) => rows,
): readonly [normal: string, maskIndex: string, sum: string] {
  const { segment_ids, segment_embedding, position_ids, mask } = inputs;
  checkSegments(node, segment_ids, segment_embedding);
  const given = (name: typeof INPUTS[number]) => required(node, name, inputs[name]);
  const ids = given("input_ids");
  const [batch, tokens] = b.shape(ids);
  const rows = (table: string, of: string) => b.op("Gather", [table, of], { axis: int(0) });
  const positions = positionRows(b, given("position_embedding"), position_ids, tokens);
  let sum = b.op("Add", [
    floats(rows(given("word_embedding"), ids), "word_embedding"),
    floats(positions, "position_embedding"),
  ]);
  if (segment_ids !== undefined && segment_embedding !== undefined) {
    const segments = rows(segment_embedding, segment_ids);
    sum = b.op("Add", [sum, floats(segments, "segment_embedding")]);
  }
  const scaling = (["gamma", "beta"] as const).map((name) => floats(given(name), name));
  const normal = b.op("LayerNormalization", [sum, ...scaling], {
    axis: int(-1),
    epsilon: float(floatAttribute(node, "epsilon", 1e-12)),
    stash_type: int(1),
  });
  return [normal, needed[1] ? maskIndex(b, mask, batch) : "", sum];
}

export const EmbedLayerNormalization: OpRule = {
  opType: "EmbedLayerNormalization",
  domain: MICROSOFT,
  since: 1,
  attributes: ["epsilon", "mask_index_type"],
  inputs: "7..9",
  outputs: "2..3",
  traits: { kind: "normalization", rows: "mixed" },

  infer(node, inputs) {
    const ids = extentsOf(requiredKnown(node, "input_ids", inputs, 0).dims);
    const { dtype, dims: [, hidden] } = requiredKnown(node, "word_embedding", inputs, 2);
    const output = { dtype, dims: asDims([...ids, hidden]) };
    return [output, { dtype: "int32", dims: asDims([ids[0]]) }, output];
  },

  lower(b, node, { needed }) {
    // mask_index_type only tells shape inference whether output 1 exists.
    return embedded(b, node, namedInputs(node, INPUTS), needed);
  },
};
