/** An adapter's update of one matrix, as factors. */
import type { Matrix } from "../linalg/matrix.ts";
import { type Svd, svdOfProduct } from "../linalg/svd.ts";

/** ΔW = scale·B·A. */
export interface LowRankUpdate {
  /** A, [rank, in]. */
  readonly a: Matrix;
  /** B, [out, rank]. */
  readonly b: Matrix;
  /** alpha/rank, or alpha/√rank. */
  readonly scale: number;
}

/** Singular values and vectors of ΔW, which is never formed. */
export function svdOfUpdate({ a, b, scale }: LowRankUpdate): Svd {
  const { u, s, v } = svdOfProduct(b, a);
  // A negative scale turns one side, so that singular values stay positive.
  const sign = scale < 0 ? -1 : 1;
  return {
    u: sign > 0 ? u : { ...u, values: u.values.map((value) => -value) },
    s: s.map((value) => Math.abs(scale) * value),
    v,
  };
}

/**
 * Writes row `n` of ΔW.
 *
 * @param out receives it, [in]
 */
export function rowOfUpdate({ a, b, scale }: LowRankUpdate, n: number, out: Float64Array): void {
  out.fill(0);
  for (let r = 0; r < a.rows; r++) {
    const factor = scale * b.values[n * b.cols + r];
    if (factor === 0) continue;
    for (let k = 0; k < a.cols; k++) out[k] += factor * a.values[r * a.cols + k];
  }
}
