/**
 * Logits of chosen positions only: generation looks at the last one, and the language model's head
 * over a whole prompt would be a fifth of the work and most of the memory.
 */
import type { Model } from "../graph/types.ts";
import { selectTargetRows, TARGET_ROWS } from "../plan/select_rows.ts";

/**
 * A language model whose `logits` are [rows, vocabulary] at the positions that the input
 * `target_rows` names, in the flattened [batch · length]. The numbers are the model's own.
 *
 * @returns the model as it is where its head does not treat positions one by one
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
