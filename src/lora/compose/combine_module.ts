/** Combines the updates of one module. */
import { type Matrix, matrixOf, product } from "../../linalg/matrix.ts";
import { leadingSvd, type Svd, svdOfProduct } from "../../linalg/svd.ts";
import { type Combination, isSvd, ruleOf } from "./combination.ts";
import { combineTensors, type RuleOptions } from "./combine_tensors.ts";

/** One adapter's update of a module, scale·B·A, with its weight in the combination. */
export interface WeightedUpdate {
  /** A, [rank, in]. */
  readonly a: Matrix;
  /** B, [out, rank]. */
  readonly b: Matrix;
  /** alpha/rank, or alpha/√rank. */
  readonly scale: number;
  readonly weight: number;
}

/** The combined update B·A of a module: its scale is in the matrices. */
export interface CombinedUpdate {
  /** A, [rank, in]. */
  readonly a: Matrix;
  /** B, [out, rank]. */
  readonly b: Matrix;
  /** All singular values of the update before truncation, for the types that end in `svd`. */
  readonly singularValues?: Float64Array;
}

/**
 * Combines updates as PEFT's `add_weighted_adapter` does.
 *
 * `cat` and `svd` sum the whole updates; `linear` and its like combine A and B each on their own, which
 * leaves products of one adapter's A with another's B in the result.
 *
 * @param rank largest rank of the result, for the types that end in `svd`
 * @throws {RangeError} for `linear` and its like if the ranks differ, and for an update too large
 */
export function combineModule(
  updates: readonly WeightedUpdate[],
  { type }: Combination,
  rank: number,
  options: RuleOptions,
): CombinedUpdate {
  if (type === "cat") return stacked(updates);
  if (type === "svd") {
    const { a, b } = stacked(updates);
    return truncated(svdOfProduct(b, a), rank);
  }
  if (isSvd(type)) {
    const { a, b } = updates[0];
    checkSize(b.rows, a.cols);
    const whole = combineTensors(
      ruleOf(type),
      updates.map(({ a, b, scale }) => product(b, a).values.map((value) => scale * value)),
      updates.map(({ weight }) => weight),
      options,
    );
    return truncated(leadingSvd({ rows: b.rows, cols: a.cols, values: whole }, rank), rank);
  }
  if (new Set(updates.map(({ a }) => a.rows)).size > 1) {
    throw new RangeError(`the ranks differ: ${updates.map(({ a }) => a.rows).join(", ")}`);
  }
  // Half of each factor in A and half in B; the sign in A alone, or it would cancel out.
  const factors = updates.map(({ scale, weight }) => scale * weight);
  const roots = factors.map((factor) => Math.sqrt(Math.abs(factor)));
  const signed = factors.map((factor, i) => factor < 0 ? -roots[i] : roots[i]);
  const combine = (of: "a" | "b", weights: readonly number[]): Matrix => ({
    ...updates[0][of],
    values: combineTensors(
      ruleOf(type),
      updates.map((update) => update[of].values),
      weights,
      options,
    ),
  });
  const a = combine("a", signed);
  return { a, b: combine("b", roots) };
}

/** Most elements of an update that is formed whole, as doubles; the largest layers have a fifth. */
const MOST_ELEMENTS = 2 ** 28;

function checkSize(rows: number, cols: number): void {
  if (rows * cols <= MOST_ELEMENTS) return;
  throw new RangeError(`its update [${rows}, ${cols}] is too large to prune as a whole`);
}

/** [B₁ B₂ …] and the stacked weightᵢ·scaleᵢ·Aᵢ, whose product is the sum of the updates. */
function stacked(updates: readonly WeightedUpdate[]): CombinedUpdate {
  const rank = updates.reduce((sum, { a }) => sum + a.rows, 0);
  const a = matrixOf(rank, updates[0].a.cols);
  const b = matrixOf(updates[0].b.rows, rank);
  let first = 0;
  for (const { a: own, b: ownB, scale, weight } of updates) {
    a.values.set(own.values.map((value) => value * weight * scale), first * a.cols);
    for (let n = 0; n < b.rows; n++) {
      const row = ownB.values.subarray(n * own.rows, (n + 1) * own.rows);
      b.values.set(row, n * rank + first);
    }
    first += own.rows;
  }
  return { a, b };
}

/** A = Vᵀ and B = U·diag(σ) of the largest singular values. */
function truncated({ u, s, v }: Svd, rank: number): CombinedUpdate {
  const kept = Math.min(rank, u.cols);
  const a = matrixOf(kept, v.rows);
  const b = matrixOf(u.rows, kept);
  for (let r = 0; r < kept; r++) {
    for (let k = 0; k < v.rows; k++) a.values[r * v.rows + k] = v.values[k * v.cols + r];
    for (let n = 0; n < u.rows; n++) b.values[n * kept + r] = s[r] * u.values[n * u.cols + r];
  }
  return { a, b, singularValues: s };
}
