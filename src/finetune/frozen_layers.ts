/** Frozen layers below everything trained, whose results a run can keep. */
import type { TokenBatch } from "../data/targets.ts";
import type { Runner } from "../runtime/runner.ts";
import type { BatchSource } from "../train/step.ts";
import { VERSION } from "../version.ts";
import { rowsAtOnce } from "./choose_numeric.ts";
import type { ChosenStep } from "./choose_step.ts";
import type { FrozenLayers } from "./prefix_cache.ts";

/** `undefined` if the lowest layer is trained. */
export async function frozenLayers(
  runner: Runner,
  chosen: ChosenStep,
  data: BatchSource<TokenBatch>,
): Promise<FrozenLayers | undefined> {
  const { step, baseDigest, forms } = chosen;
  const batch = rowsAtOnce(chosen, await data.batch(0, 0));
  if (step.planOf(batch, { passes: [] }).frozen === undefined) return undefined;
  const { dequantForm, integerForm, rotated, sliced } = forms;
  // Value by value: the order of an object's keys depends on whether it was measured or read by a resume.
  const identity = JSON.stringify([
    ...[baseDigest, runner.description, VERSION, dequantForm, integerForm, rotated, sliced],
  ]);
  return { identity, keepIn: (file) => step.activations = file };
}
