/** Singular values of large dense matrices, without vectors. */
import { gramOf } from "./gram.ts";
import { symmetricEigen } from "./symmetric_eigen.ts";

/**
 * Singular values of a dense matrix, descending, as roots of the eigenvalues of its smaller Gram matrix:
 * those below about 1e-8 of the largest are rounding errors.
 *
 * @param values row-major [rows, cols]
 * @returns min(rows, cols) values; time grows with min² · max
 */
export function singularValues(
  values: Float32Array | Float64Array,
  rows: number,
  cols: number,
): Float64Array {
  const side = Math.min(rows, cols);
  const gram = rows <= cols
    ? gramOf({ rows, cols, values })
    : gramOf({ rows: cols, cols: rows, values: turned(values, rows, cols) });
  return symmetricEigen(gram, side).values.map((value) => Math.sqrt(Math.max(0, value)));
}

function turned<T extends Float32Array | Float64Array>(values: T, rows: number, cols: number): T {
  const out = values.slice() as T;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) out[j * rows + i] = values[i * cols + j];
  }
  return out;
}
