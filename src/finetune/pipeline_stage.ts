/** The layers that this process computes, if it is a stage of a pipeline. */
import type { TokenBatch } from "../data/targets.ts";
import { ParameterError } from "../errors.ts";
import { planTraining } from "../plan/plan.ts";
import { divideSegments } from "../plan/stage.ts";
import type { Pipeline } from "../train/pipeline.ts";
import {
  packingRules,
  type PlannedModelOptions,
  planOptionsFor,
} from "../train/planned_options.ts";
import { prepare } from "../train/step_inputs.ts";

/**
 * Divides the model's segments among the stages, by the elements of their weights.
 *
 * @param batch any: it decides nothing but the sizes of tensors
 * @throws {ParameterError} if the model has fewer segments than there are stages
 */
export function withStage(
  options: PlannedModelOptions,
  batch: TokenBatch,
  pipeline: Pipeline | undefined,
): PlannedModelOptions {
  if (pipeline === undefined) return options;
  const prepared = prepare(batch, packingRules(options, {}));
  const { loads } = planTraining(
    options.model,
    planOptionsFor(options, prepared, { passes: [] }),
  );
  const { stage, stages } = pipeline;
  const ranges = divideSegments(loads, stages);
  if (ranges === undefined) {
    throw new ParameterError(
      "pipeline",
      (name) =>
        `${name("pipeline")} must be <= ${loads.length}, into which the model can be divided: ` +
        `current value is ${stages}`,
    );
  }
  return { ...options, stage: ranges[stage], pipeline };
}
