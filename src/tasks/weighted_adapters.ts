/** Loads adapters with their weights. */
import { ParameterError } from "../errors.ts";
import type { WeightedAdapter } from "../lora/merge/mod.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import { loadAdapter } from "../model/adapter_dir.ts";

/**
 * Reads adapters from their folders.
 *
 * @param weights one for each; all 1 if absent
 * @throws {ParameterError} for no adapter, weights of another number, and what is no number
 * @throws {BadInputError} for a folder that holds no sound adapter
 */
export function loadWeighted(
  paths: readonly string[],
  weights: readonly number[] | undefined,
  onEvent: (event: AdapterNote) => void,
): readonly WeightedAdapter[] {
  if (paths.length === 0) {
    throw new ParameterError(
      "adapterPath",
      (name) => `There must be an adapter: ${name("adapterPath")}`,
    );
  }
  if (weights !== undefined && weights.length !== paths.length) {
    throw new ParameterError(
      "adapterWeights",
      (name) =>
        `${name("adapterWeights")} must be as many as ${
          name("adapterPath")
        } (${paths.length}): current value is ${weights}`,
    );
  }
  return paths.map((label, i) => {
    const weight = weights?.[i] ?? 1;
    if (!Number.isFinite(weight)) {
      throw new ParameterError(
        "adapterWeights",
        (name) => `${name("adapterWeights")} must be numbers: current value is ${weight}`,
      );
    }
    const { adapter, notes } = loadAdapter(label);
    for (const text of notes) onEvent({ kind: "adapter note", text });
    return { label, adapter, weight };
  });
}
