/** Frozen layers below everything trained, whose results a run can keep. */
import type { Runner } from "../runtime/runner.ts";
import { firstBatch } from "../train/first_batch.ts";
import { VERSION } from "../version.ts";
import { frozenDigest } from "./adapted_model.ts";
import { rowsAtOnce } from "./choose_numeric.ts";
import type { ChosenStep } from "./choose_step.ts";
import type { DataAndAdapter } from "./data_and_adapter.ts";
import type { FrozenLayers } from "./prefix_cache.ts";

/** `undefined` if the lowest layer is trained. */
export async function frozenLayers(
  runner: Runner,
  chosen: ChosenStep,
  { data: { train }, adapted }: DataAndAdapter,
): Promise<FrozenLayers | undefined> {
  const { step, baseDigest, forms } = chosen;
  const batch = rowsAtOnce(chosen, await firstBatch(train));
  if (step.trainingPlanOf(batch).frozen === undefined) return undefined;
  const { dequantForm, integerForm, rotated, sliced } = forms;
  // Value by value: the order of an object's keys depends on whether it was measured or read by a resume.
  const identity = JSON.stringify([
    ...[baseDigest, runner.description, VERSION, dequantForm, integerForm, rotated, sliced],
    frozenDigest(adapted),
  ]);
  return { identity, keepIn: (file) => step.activations = file };
}
