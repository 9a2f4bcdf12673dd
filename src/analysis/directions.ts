/** How much of a weight lies in given directions (Hu et al., arXiv 2106.09685, section 7.3). */
import { frobenius, type Matrix, matrixOf, transposedProduct } from "../linalg/matrix.ts";
import { qr } from "../linalg/qr.ts";
import type { Random } from "../random.ts";

/** A dense weight of singles, row-major [rows, cols] = [out, in]. */
export interface Weight {
  readonly rows: number;
  readonly cols: number;
  readonly values: Float32Array;
}

/**
 * ‖Uᵀ·W·V‖_F: the norm of W between the subspaces of U and V. The paper writes Vᵀ for this V, whose rows
 * are directions there.
 *
 * @param u orthonormal columns [out, r]
 * @param v orthonormal columns [in, r]
 */
export function normInDirections({ rows, cols, values }: Weight, u: Matrix, v: Matrix): number {
  const along = matrixOf(rows, v.cols);
  for (let n = 0; n < rows; n++) {
    const row = along.values.subarray(n * v.cols, (n + 1) * v.cols);
    for (let k = 0; k < cols; k++) {
      const value = values[n * cols + k];
      for (let r = 0; r < v.cols; r++) row[r] += value * v.values[k * v.cols + r];
    }
  }
  return frobenius(transposedProduct(u, along).values);
}

/** `count` random orthonormal columns [rows, count], each direction as likely as any other. */
export function randomDirections(rows: number, count: number, random: Random): Matrix {
  const values = new Float64Array(rows * count);
  for (let i = 0; i < values.length; i++) values[i] = gaussian(random);
  return qr(matrixOf(rows, count, values)).q;
}

/** A normal number (Box and Muller, 1958). */
function gaussian(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log((random.next() + 1) / 2 ** 32));
  return radius * Math.cos(2 * Math.PI * random.next() / 2 ** 32);
}
