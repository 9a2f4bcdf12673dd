/** Thin QR factors by Householder reflections (Golub and Van Loan, "Matrix Computations", 5.2). */
import { type Matrix, matrixOf, transposed } from "./matrix.ts";

/** M = Q·R with orthonormal columns in Q [m, p] and an upper triangular R [p, n], p = min(m, n). */
export interface QrFactors {
  readonly q: Matrix;
  readonly r: Matrix;
}

/** Thin QR factors of a matrix [m, n]; the columns of Q are orthonormal even if those of M depend. */
export function qr(m: Matrix): QrFactors {
  const { rows, cols } = m;
  const count = Math.min(rows, cols);
  // Columns lie in one piece: a reflection reads and writes whole columns.
  const columns = transposed(m).values;
  const r = matrixOf(count, cols);
  const betas = new Float64Array(count);
  for (let k = 0; k < count; k++) {
    const v = columns.subarray(k * rows + k, (k + 1) * rows);
    const { beta, first } = reflectorOf(v);
    betas[k] = beta;
    for (let j = k + 1; j < cols; j++) {
      reflect(v, beta, columns.subarray(j * rows + k, (j + 1) * rows));
    }
    r.values[k * cols + k] = first;
    for (let j = k + 1; j < cols; j++) r.values[k * cols + j] = columns[j * rows + k];
  }
  const q = new Float64Array(count * rows);
  for (let j = 0; j < count; j++) {
    const column = q.subarray(j * rows, (j + 1) * rows);
    column[j] = 1;
    for (let k = j; k >= 0; k--) {
      reflect(columns.subarray(k * rows + k, (k + 1) * rows), betas[k], column.subarray(k));
    }
  }
  return { q: transposed({ rows: count, cols: rows, values: q }), r };
}

/**
 * The reflection I − β·v·vᵀ that turns `x` into (first, 0, 0, …); `x` becomes v.
 *
 * @returns β, 0 if nothing is to be turned, and the first element afterwards
 */
export function reflectorOf(x: Float64Array): { readonly beta: number; readonly first: number } {
  let largest = 0;
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, Math.abs(x[i]));
  if (largest === 0) return { beta: 0, first: 0 };
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] /= largest) ** 2;
  // The sign avoids cancellation in v's first element.
  const norm = x[0] > 0 ? -Math.sqrt(sum) : Math.sqrt(sum);
  x[0] -= norm;
  return { beta: -1 / (norm * x[0]), first: norm * largest };
}

/** x − β·v·(vᵀ·x), in place. */
export function reflect(v: Float64Array, beta: number, x: Float64Array): void {
  if (beta === 0) return;
  let sum = 0;
  for (let i = 0; i < v.length; i++) sum += v[i] * x[i];
  const factor = beta * sum;
  for (let i = 0; i < v.length; i++) x[i] -= factor * v[i];
}
