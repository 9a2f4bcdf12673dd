/** What encoding text for a model must know of its graph. */
import type { ModelText } from "../data/encode_batches.ts";
import type { Graph } from "../graph/types.ts";
import { fixedShape } from "../plan/inputs.ts";

/** Inputs besides the tokens, and the length of every sequence where the graph takes no other. */
export function textInputsOf(graph: Graph): Pick<ModelText, "tokenTypeIds" | "length"> {
  return {
    tokenTypeIds: graph.inputs.some(({ name }) => name === "token_type_ids"),
    length: fixedShape(graph).length,
  };
}
