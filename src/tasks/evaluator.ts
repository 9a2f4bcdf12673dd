/** How models are evaluated on this device. */
import { trainingForms } from "../kernels/training_forms.ts";
import type { Task } from "../data/mod.ts";
import { evaluateModel, type Evaluator } from "../eval/evaluate.ts";
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import { evaluatorInFloats } from "../train/evaluate_in_floats.ts";
import { passControlHere } from "../train/left_out_passes.ts";

/** The evaluator of a task, with products in the form that is quickest on this device. */
export async function evaluatorFor(
  runner: Runner,
  threads: number | undefined,
  model: Model,
  task: Task,
): Promise<Evaluator> {
  if (task !== "causal") return (model, ...rest) => evaluateModel(runner, model, ...rest);
  const { dequantForm } = await trainingForms(runner, threads, model, "exact");
  return evaluatorInFloats(runner, { dequantForm, passControl: passControlHere() });
}
