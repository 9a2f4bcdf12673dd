/**
 * The largest singular values of a large matrix by random projection and power iterations (Halko, Martinsson
 * and Tropp, "Finding Structure with Randomness", 2011, algorithms 4.4 and 5.1).
 */
import { firstColumns, type Matrix, matrixOf, product, transposedProduct } from "./matrix.ts";
import { qr } from "./qr.ts";
import { type Svd, tallSvd } from "./svd.ts";

/** Directions beyond those wanted: they take what the last wanted ones would else lack. */
const OVERSAMPLING = 8;

/**
 * Approximates the `count` largest singular values and their vectors, in time that grows with
 * m·n·count·iterations. What a direction lacks falls by the square of σ_{count+9} / σ_i with each iteration.
 *
 * @param normal draws a standard normal number
 */
export function randomizedSvd(
  m: Matrix,
  count: number,
  iterations: number,
  normal: () => number,
): Svd {
  const width = Math.min(count + OVERSAMPLING, m.rows, m.cols);
  const draws = Float64Array.from({ length: m.cols * width }, normal);
  let basis = qr(product(m, matrixOf(m.cols, width, draws))).q;
  for (let i = 0; i < iterations; i++) {
    // Orthonormal after each product: rounding would else leave only the first direction.
    basis = qr(product(m, qr(transposedProduct(m, basis)).q)).q;
  }
  // Mᵀ·Q = V·Σ·Uqᵀ, so that M ≈ Q·Qᵀ·M = (Q·Uq)·Σ·Vᵀ.
  const { u: v, s, v: inBasis } = tallSvd(transposedProduct(m, basis));
  return {
    u: firstColumns(product(basis, inBasis), count),
    s: s.subarray(0, count),
    v: firstColumns(v, count),
  };
}
