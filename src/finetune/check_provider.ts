/** Compares the gradients of an execution provider with those of the CPU, before the first step. */
import { type RowCut, together } from "../data/row_cuts.ts";
import type { TokenBatch } from "../data/targets.ts";
import { RefusedError } from "../errors.ts";
import { changed, floatsBeside } from "../plan/arithmetic.ts";
import type { Runner } from "../runtime/runner.ts";
import { checkedPart, compareGradients, gradientOf } from "../train/check_fast.ts";
import { PlannedModel } from "../train/planned_model.ts";
import type { PlannedModelOptions } from "../train/planned_options.ts";
import { formatShare } from "../format.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";

/**
 * Smallest cosine between a provider's gradients and the CPU's. Both compute in float32: a lower cosine comes
 * from kernels that compute something else. WebGPU of release 1.30, on Mesa's software Vulkan, gives 1.0000
 * for the tiny BERT of the tests, and for the tiny Llama gradients that have nothing to do with the right
 * ones.
 */
const PROVIDER_THRESHOLD = 0.99;

/**
 * @param processor a runner without providers, owned by the caller
 * @throws {RefusedError} if the gradients of the batch differ
 */
export async function checkProvider(
  step: PlannedModel,
  options: PlannedModelOptions,
  processor: Runner,
  batch: TokenBatch,
  onEvent: OnEvent<PreparationEvent>,
  cut: RowCut = together,
): Promise<void> {
  const compared = cut(checkedPart(batch));
  // Both in floats; the arithmetic of the run is chosen afterwards.
  const arithmetic = floatsBeside(step.arithmetic);
  const found = await gradientOf(step, arithmetic, ...compared);
  using onProcessor = new PlannedModel({
    ...options,
    runner: processor,
    arithmetic: changed(arithmetic, { readyWeights: false }),
  });
  const expected = await gradientOf(onProcessor, onProcessor.arithmetic, ...compared);
  const { cosine, relativeError } = compareGradients(expected, found);
  const { description } = options.runner;
  // NaN passes no comparison.
  if (!(cosine >= PROVIDER_THRESHOLD)) {
    const figures = `cosine ${cosine.toFixed(4)}, relative error ${formatShare(relativeError)}`;
    throw new RefusedError((name) =>
      `${description} computes another gradient of the first batch than the processor: ${figures}, ` +
      `and the cosine must be >= ${PROVIDER_THRESHOLD}: train with ${name("ep", "cpu")}, or on ` +
      "another release"
    );
  }
  onEvent({ kind: "provider checked", runtime: description, cosine, relativeError });
}
