/** How a run's products are computed: as was measured when it began. */
import { type TrainingForms, trainingForms } from "../kernels/training_forms.ts";
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import { formsHere } from "../train/integer_forms.ts";
import { readChosenMemory } from "./chosen_memory.ts";
import type { Terminal } from "./output.ts";
import type { TrainFlags } from "./train_flags.ts";

/**
 * What was quickest here, or what a run that is gone on with was measured to, so that its numbers are
 * the same to the bit; but products that saturate on this processor, where the run began on another.
 */
export async function runForms(
  { resume, adapterPath, threads, numeric }: Pick<
    TrainFlags,
    "resume" | "adapterPath" | "threads" | "numeric"
  >,
  runner: Runner,
  model: Model,
  terminal: Pick<Terminal, "note">,
): Promise<TrainingForms> {
  const before = resume ? readChosenMemory(adapterPath)?.forms : undefined;
  if (before?.integerForm === undefined) {
    return before ?? await trainingForms(runner, threads, model, numeric);
  }
  const right = await formsHere(runner);
  if (right.includes(before.integerForm)) return before;
  const [integerForm] = right;
  terminal.note(
    `Products in 8-bit integers of the form ${before.integerForm}, in which this run began, saturate ` +
      `on this processor: going on in ${integerForm}`,
  );
  return { ...before, integerForm };
}
