/** Matrices for tests of numerical routines. */
import { type Matrix, matrixOf, product, transposed } from "../../src/linalg/matrix.ts";
import { qr } from "../../src/linalg/qr.ts";
import { Random } from "../../src/random.ts";

/** Elements uniform in [−0.5, 0.5). */
export function randomMatrix(rows: number, cols: number, seed: number): Matrix {
  const random = Random.fromSeed(seed);
  const values = Float64Array.from(
    { length: rows * cols },
    () => random.next() / 2 ** 32 - 0.5,
  );
  return matrixOf(rows, cols, values);
}

/** Orthonormal columns [rows, cols], cols ≤ rows. */
export const orthonormal = (rows: number, cols: number, seed: number): Matrix =>
  qr(randomMatrix(rows, cols, seed)).q;

/** U·diag(σ)·Vᵀ. */
export function fromSvd({ u, s, v }: { u: Matrix; s: ArrayLike<number>; v: Matrix }): Matrix {
  const scaled = { ...u, values: u.values.map((value, i) => value * s[i % u.cols]) };
  return product(scaled, transposed(v));
}

/** Largest difference of two matrices of one shape. */
export function distance(a: Matrix, b: Matrix): number {
  if (a.rows !== b.rows || a.cols !== b.cols) return Infinity;
  return a.values.reduce((most, value, i) => Math.max(most, Math.abs(value - b.values[i])), 0);
}
