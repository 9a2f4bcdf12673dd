/** How a run's products are computed: as was measured when it began. */
import type { Model } from "../graph/types.ts";
import { type TrainingForms, trainingForms } from "../kernels/training_forms.ts";
import type { Runner } from "../runtime/runner.ts";
import { formsHere } from "../train/integer_forms.ts";
import { readChosenMemory } from "./chosen_memory.ts";
import type { FineTuneConfig } from "./config.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";

/**
 * What was quickest here, or what a run that is gone on with was measured to, so that its numbers are
 * the same to the bit; but products that saturate on this processor, where the run began on another.
 */
export async function runForms(
  { resume, adapterPath, threads, numeric }: Pick<
    FineTuneConfig,
    "resume" | "adapterPath" | "threads" | "numeric"
  >,
  runner: Runner,
  model: Model,
  onEvent: OnEvent<PreparationEvent>,
): Promise<TrainingForms> {
  const before = resume ? readChosenMemory(adapterPath)?.forms : undefined;
  if (before?.integerForm === undefined) {
    return before ?? await trainingForms(runner, threads, model, numeric);
  }
  const right = await formsHere(runner);
  if (right.includes(before.integerForm)) return before;
  const [integerForm] = right;
  onEvent({ kind: "integer form changed", from: before.integerForm, to: integerForm });
  return { ...before, integerForm };
}
