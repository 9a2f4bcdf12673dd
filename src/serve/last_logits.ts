/**
 * Computes logits of chosen positions only: generation uses the last one, and the language model's head
 * over a whole prompt would take a fifth of the time and most of the memory.
 */
import type { Model } from "../graph/types.ts";
import { selectTargetRows, TARGET_ROWS } from "../plan/select_rows.ts";

/**
 * A language model whose `logits` are [rows, vocabulary] at the positions that the input `target_rows`
 * names, in the flattened [batch · length]. The values do not change.
 *
 * @returns the model itself if its head does not process positions independently
 */
export function withChosenLogits(model: Model): Model {
  const graph = selectTargetRows(model.graph, "logits");
  if (graph === undefined) return model;
  const outputs = graph.outputs.map((output) => {
    if (output.name !== "logits" || output.type?.shape === undefined) return output;
    const vocabulary = output.type.shape.at(-1) ?? "vocabulary";
    return { ...output, type: { ...output.type, shape: [TARGET_ROWS, vocabulary] } };
  });
  return { ...model, graph: { ...graph, outputs } };
}
