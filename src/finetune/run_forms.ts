/** How a run's products are computed: as measured when it began. */
import type { Model } from "../graph/types.ts";
import { type TrainingForms, trainingForms } from "../kernels/training_forms.ts";
import type { Runner } from "../runtime/runner.ts";
import { formsHere } from "../train/integer_forms.ts";
import { readChosenMemory } from "./chosen_memory.ts";
import type { FineTuneConfig } from "./config.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";

/**
 * What was quickest here, or for a resumed run what was measured when it began, so that its numbers are the
 * same to the bit. If the run began on another processor and its products saturate on this one, they give
 * way.
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
