/**
 * Compares the gradients of `exact` with activations of 16 bits (`plan/arithmetic.ts`) with those in floats
 * on a real batch, before the first step: a row's largest entry decides how fine its steps are, so their cost
 * depends on the model's outliers.
 */
import { type RowCut, together } from "../data/row_cuts.ts";
import type { TokenBatch } from "../data/targets.ts";
import { type Arithmetic, floatsBeside } from "../plan/arithmetic.ts";
import { checkedPart, type ComparedModel, compareGradients, gradientOf } from "./check_fast.ts";

/** Largest relative error of the gradient with which `exact` goes on: what the setting promises. */
export const SLICED_LIMIT = 1e-3;

/** The result of the comparison. */
export interface SlicedCheck {
  /** ‖sliced − floats‖₂ / ‖floats‖₂ over the gradients of all trained parameters. */
  readonly relativeError: number;
  /** Whether the model may go on with slices. */
  readonly passed: boolean;
}

/**
 * Computes the gradient of a batch's first sequences both ways. Accumulated gradients are dropped.
 *
 * @param sliced the arithmetic with slices
 * @param cut which sequences run together
 */
export async function checkSliced(
  step: ComparedModel,
  sliced: Arithmetic,
  batch: TokenBatch,
  cut: RowCut = together,
): Promise<SlicedCheck> {
  const parts = cut(checkedPart(batch));
  const floats = await gradientOf(step, floatsBeside(sliced), ...parts);
  const { relativeError } = compareGradients(floats, await gradientOf(step, sliced, ...parts));
  // NaN passes no comparison.
  return { relativeError, passed: relativeError <= SLICED_LIMIT };
}
