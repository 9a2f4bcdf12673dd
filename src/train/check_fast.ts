/**
 * Compares the gradients of the `fast` setting with those of `exact` on a real batch, before the
 * first step: how much rounding to 8 bits costs depends on the model, its outliers and the
 * processor (kernels without VNNI saturate).
 */
import { cutBatch, firstTokens, sliceBatch } from "../data/slice_batch.ts";
import { type RowCut, together } from "../data/row_cuts.ts";
import { targetsOf, type TokenBatch } from "../data/targets.ts";
import { toNumbers } from "../graph/tensor.ts";
import { type Arithmetic, floatsBeside } from "../plan/arithmetic.ts";
import type { Numeric } from "../plan/names.ts";
import type { PlannedModel } from "./planned_model.ts";

/**
 * Smallest cosine between the gradients of the two settings at which training goes on in `fast`.
 *
 * With SmolLM2-135M the first {@linkcode SEQUENCES} sequences of a batch reach 0.989 to 0.992, short ones the
 * least, and whole batches of eight reach 0.991 to 0.994; with MiniLM it is 0.998
 * (`scripts/figures/numeric.ts`).
 */
export const FAST_THRESHOLD = 0.98;

/** The parts of a model that the comparison uses. */
export type ComparedModel = Pick<PlannedModel, "parameters" | "accumulate" | "zeroGrad">;

/** The two arithmetics that are compared. */
export type BothSettings = Readonly<Record<Numeric, Arithmetic>>;

/** An arithmetic of `fast`, and the float arithmetic that it is compared with. */
export function besideFloats(fast: Arithmetic): BothSettings {
  return { exact: floatsBeside(fast), fast };
}

/** The result of the comparison. */
export interface FastCheck {
  /** ⟨fast, exact⟩ / (‖fast‖₂·‖exact‖₂) over the gradients of all trained parameters. */
  readonly cosine: number;
  /** ‖fast − exact‖₂ / ‖exact‖₂ */
  readonly relativeError: number;
  /** Whether the model may go on in `fast`. */
  readonly passed: boolean;
}

/** Sequences compared at once: usually enough to tell, and few enough for the memory of `exact`. */
const SEQUENCES = 4;
/**
 * Sequences compared before deciding against `fast`: rounding affects one sequence differently from the next,
 * so the gradient of a few short ones has a larger error than that of a batch.
 */
const DECIDING_SEQUENCES = 16;

/**
 * Computes the gradients of a batch's first sequences in both settings, and of more sequences if those
 * differ. Accumulated gradients are dropped.
 *
 * @param cut which sequences run together
 */
export async function checkFast(
  step: ComparedModel,
  both: BothSettings,
  batch: TokenBatch,
  cut: RowCut = together,
): Promise<FastCheck> {
  const few = await gradientsInBoth(step, both, cut(checkedPart(batch)));
  let compared = compareGradients(few.exact, few.fast);
  const others = othersOf(batch).flatMap(cut);
  if (compared.cosine < FAST_THRESHOLD && others.length > 0) {
    const more = await gradientsInBoth(step, both, others);
    compared = compareGradients(sumOf(few.exact, more.exact), sumOf(few.fast, more.fast));
  }
  // NaN passes no comparison.
  return { ...compared, passed: compared.cosine >= FAST_THRESHOLD };
}

/** The sums of the gradients of some batches in both settings; `fast` runs last. */
export async function gradientsInBoth(
  step: ComparedModel,
  both: BothSettings,
  batches: readonly TokenBatch[],
) {
  const exact = await gradientOf(step, both.exact, ...batches);
  return { exact, fast: await gradientOf(step, both.fast, ...batches) };
}

const sumOf = (a: readonly Float32Array[], b: readonly Float32Array[]) =>
  a.map((values, p) => values.map((value, i) => value + b[p][i]));

/** Cosine and relative error of a gradient against the exact one, over all parameters. */
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

/** The part of a batch that is compared. */
export function checkedPart(batch: TokenBatch): TokenBatch {
  const few = sliceBatch(batch, 0, SEQUENCES);
  return [shortened(few), few].find((part) => targetsOf(part).count > 0) ?? batch;
}

/**
 * Tokens compared per sequence: enough to tell, and no step of the run needs as much memory as `exact` would
 * over longer sequences.
 */
const TOKENS = 1024;

function shortened(batch: TokenBatch): TokenBatch {
  return batch.inputIds.dims[1] > TOKENS ? firstTokens(batch, TOKENS) : batch;
}

/** Later sequences, a few at once, as long as they have targets; none if the first have none. */
function othersOf(batch: TokenBatch): TokenBatch[] {
  if (checkedPart(batch) === batch) return [];
  return cutBatch(sliceBatch(batch, 0, DECIDING_SEQUENCES), SEQUENCES).slice(1).map(shortened)
    .filter((part) => targetsOf(part).count > 0);
}

/**
 * The sum of the gradients of some batches in an arithmetic, one vector per parameter; none if no loss
 * depends on it.
 */
export async function gradientOf(
  step: ComparedModel,
  arithmetic: Arithmetic,
  ...batches: readonly TokenBatch[]
): Promise<Float32Array[]> {
  step.zeroGrad();
  for (const batch of batches) await step.accumulate(batch, 0, { arithmetic });
  const gradient = step.parameters.map(({ grad }) =>
    grad === undefined ? new Float32Array() : Float32Array.from(toNumbers(grad.read()))
  );
  step.zeroGrad();
  return gradient;
}
