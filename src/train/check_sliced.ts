/**
 * Compares the gradients of `exact` with activations of 16 bits (`PlanSettings.sliced`) with those in
 * floats on a real batch, before the first step: a row's largest entry decides how fine its steps are,
 * so that it depends on the model's outliers how much they cost.
 */
import { type RowCut, together } from "../data/row_cuts.ts";
import type { TokenBatch } from "../data/targets.ts";
import { checkedPart, compareGradients, gradientOf } from "./check_fast.ts";
import type { PlannedModel } from "./planned_model.ts";

/** Largest relative error of the gradient that `exact` goes on with: what the setting promises. */
export const SLICED_LIMIT = 1e-3;

/** What the comparison found. */
export interface SlicedCheck {
  /** ‖sliced − floats‖₂ / ‖floats‖₂ over the gradients of all trained parameters. */
  readonly relativeError: number;
  /** Whether the model goes on with slices. */
  readonly passed: boolean;
}

/**
 * Computes the gradient of a batch's first sequences both ways, and leaves the model with slices where
 * they agree, else in floats. Accumulated gradients are dropped.
 *
 * @param cut which sequences run together
 */
export async function checkSliced(
  step: Pick<PlannedModel, "sliced" | "parameters" | "accumulate" | "zeroGrad">,
  batch: TokenBatch,
  cut: RowCut = together,
): Promise<SlicedCheck> {
  const parts = cut(checkedPart(batch));
  step.sliced = false;
  const floats = await gradientOf(step, ...parts);
  step.sliced = true;
  const { relativeError } = compareGradients(floats, await gradientOf(step, ...parts));
  // Numbers that are none pass no comparison.
  const passed = relativeError <= SLICED_LIMIT;
  step.sliced = passed;
  return { relativeError, passed };
}
