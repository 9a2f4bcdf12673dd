/** The singular values of a gradient that is known only through random projections. */
import { type Matrix, matrixOf, transposed } from "../linalg/matrix.ts";
import { qr } from "../linalg/qr.ts";
import { tallSvd } from "../linalg/svd.ts";

/**
 * Estimates the singular values of G = dL/dW [out, in] from the gradient with respect to B of an adapter
 * whose B is zero: dL/dB = scale·G·Aᵀ.
 *
 * With Aᵀ = Q·R, G·Q = dL/dB·R⁻¹/scale has the singular values of G if A is square; a random A of fewer
 * rows sees rank/in of each squared one on average (Halko, Martinsson and Tropp, "Finding Structure with
 * Randomness", 2011), which is made up for. The error is small for the few large values, if A has
 * several times as many rows.
 *
 * @param gradB dL/dB, [out, rank]
 * @param a A with independent rows, [rank, in], rank ≤ in
 * @param scale factor of the adapter's update
 * @returns min(out, rank) values, descending
 * @throws {RangeError} for matrices that do not fit, or dependent rows
 */
export function sketchedSingularValues(gradB: Matrix, a: Matrix, scale: number): Float64Array {
  if (gradB.cols !== a.rows || a.rows > a.cols) {
    throw new RangeError(
      `Cannot estimate singular values: dL/dB is [${gradB.rows}, ${gradB.cols}], A [${a.rows}, ${a.cols}]`,
    );
  }
  const { r } = qr(transposed(a));
  const factor = Math.sqrt(a.cols / a.rows) / scale;
  return tallSvd(dividedBy(gradB, r)).s.map((value) => value * factor);
}

/** M·R⁻¹ for an upper triangular R. */
function dividedBy({ rows, cols, values }: Matrix, r: Matrix): Matrix {
  const out = matrixOf(rows, cols, values);
  for (let i = 0; i < rows; i++) {
    const row = out.values.subarray(i * cols, (i + 1) * cols);
    for (let j = 0; j < cols; j++) {
      for (let k = 0; k < j; k++) row[j] -= row[k] * r.values[k * cols + j];
      const pivot = r.values[j * cols + j];
      if (pivot === 0) throw new RangeError("Cannot estimate singular values: rows of A depend");
      row[j] /= pivot;
    }
  }
  return out;
}
