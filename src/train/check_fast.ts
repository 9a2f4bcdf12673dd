/**
 * Compares the gradients of the `fast` setting with those of `exact` on a real batch, before the
 * first step: how much rounding to 8 bits costs depends on the model, its outliers and the
 * processor (kernels without VNNI saturate).
 */
import { sliceBatch } from "../data/slice_batch.ts";
import { targetsOf, type TokenBatch } from "../data/targets.ts";
import { toNumbers } from "../graph/tensor.ts";
import type { PlannedModel } from "./planned_model.ts";

/**
 * Smallest cosine between both settings' gradients that training goes on with in `fast`.
 *
 * From batch to batch SmolLM2-135M reaches 0.990 to 0.996 and MiniLM 0.996 to 0.998
 * (`scripts/figures/numeric.ts`).
 */
export const FAST_THRESHOLD = 0.98;

/** What the comparison found. */
export interface FastCheck {
  /** ⟨fast, exact⟩ / (‖fast‖₂·‖exact‖₂) over the gradients of all trained parameters. */
  readonly cosine: number;
  /** ‖fast − exact‖₂ / ‖exact‖₂ */
  readonly relativeError: number;
  /** Whether the model goes on in `fast`. */
  readonly passed: boolean;
}

/** Sequences that are compared: enough to tell, few enough for the larger setting's memory. */
const SEQUENCES = 4;

/**
 * Computes the gradients of a batch in both settings, and leaves the model in `fast` where they
 * agree, else in `exact`. Accumulated gradients are dropped.
 */
export async function checkFast(step: PlannedModel, batch: TokenBatch): Promise<FastCheck> {
  const compared = checkedPart(batch);
  step.numeric = "exact";
  const exact = await gradientOf(step, compared);
  step.numeric = "fast";
  const fast = await gradientOf(step, compared);
  const { cosine, relativeError } = compareGradients(exact, fast);
  // Numbers that are none pass no comparison.
  const passed = cosine >= FAST_THRESHOLD;
  if (!passed) step.numeric = "exact";
  return { cosine, relativeError, passed };
}

/** Cosine and relative error of a gradient beside the exact one, over all parameters. */
export function compareGradients(
  exact: readonly Float32Array[],
  found: readonly Float32Array[],
): Pick<FastCheck, "cosine" | "relativeError"> {
  let [product, exactSquares, foundSquares, errorSquares] = [0, 0, 0, 0];
  exact.forEach((values, p) =>
    values.forEach((value, i) => {
      const other = found[p][i];
      product += value * other;
      exactSquares += value * value;
      foundSquares += other * other;
      errorSquares += (value - other) ** 2;
    })
  );
  return {
    cosine: product / Math.sqrt(exactSquares * foundSquares),
    relativeError: Math.sqrt(errorSquares / exactSquares),
  };
}

/** What of a batch is compared. */
export function checkedPart(batch: TokenBatch): TokenBatch {
  const few = sliceBatch(batch, 0, SEQUENCES);
  return targetsOf(few).count > 0 ? few : batch;
}

/** The gradient of a batch, a vector a parameter; none where the loss does not depend on it. */
export async function gradientOf(step: PlannedModel, batch: TokenBatch): Promise<Float32Array[]> {
  step.zeroGrad();
  await step.accumulate(batch, 0);
  const gradient = step.parameters.map(({ grad }) =>
    grad === undefined ? new Float32Array() : Float32Array.from(toNumbers(grad.read()))
  );
  step.zeroGrad();
  return gradient;
}
