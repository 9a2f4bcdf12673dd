/** Numerical rank: how many singular values are more than rounding errors. */

/** Relative distance between neighbouring numbers of float32. */
const FLOAT32_EPSILON = 2 ** -23;

/**
 * The number of singular values above max(rows, cols)·2⁻²³·σ₁: below it lie the rounding errors of
 * float32, in which weights and adapters are kept (numpy's `matrix_rank` for float32).
 *
 * @param s singular values, descending
 */
export function numericalRank(s: Float64Array, rows: number, cols: number): number {
  const least = Math.max(rows, cols) * FLOAT32_EPSILON * (s[0] ?? 0);
  return s.filter((value) => value > least).length;
}
