/** Dense matrices of doubles and their products. */

/** A matrix, row-major [rows, cols]. */
export interface Matrix {
  /** Number of rows. */
  readonly rows: number;
  /** Number of columns. */
  readonly cols: number;
  /** Elements, row after row. */
  readonly values: Float64Array;
}

/**
 * Makes a matrix of doubles.
 *
 * @param values row-major [rows, cols]; zeros if absent
 * @throws {RangeError} if their number does not fit
 */
export function matrixOf(rows: number, cols: number, values?: ArrayLike<number>): Matrix {
  if (values !== undefined && values.length !== rows * cols) {
    throw new RangeError(
      `A matrix [${rows}, ${cols}] needs ${rows * cols} values: current number is ${values.length}`,
    );
  }
  return {
    rows,
    cols,
    values: values === undefined ? new Float64Array(rows * cols) : Float64Array.from(values),
  };
}

/** The matrix Mᵀ, [cols, rows]. */
export function transposed({ rows, cols, values }: Matrix): Matrix {
  const out = matrixOf(cols, rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) out.values[j * rows + i] = values[i * cols + j];
  }
  return out;
}

/** A·B for A [m, k] and B [k, n], [m, n]. */
export function product(a: Matrix, b: Matrix): Matrix {
  checkInner(a.cols, b.rows);
  const out = matrixOf(a.rows, b.cols);
  const n = b.cols;
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.cols; k++) {
      const factor = a.values[i * a.cols + k];
      if (factor === 0) continue;
      for (let j = 0; j < n; j++) out.values[i * n + j] += factor * b.values[k * n + j];
    }
  }
  return out;
}

/** Aᵀ·B for A [k, m] and B [k, n], [m, n]. */
export function transposedProduct(a: Matrix, b: Matrix): Matrix {
  checkInner(a.rows, b.rows);
  const out = matrixOf(a.cols, b.cols);
  const n = b.cols;
  for (let k = 0; k < a.rows; k++) {
    for (let i = 0; i < a.cols; i++) {
      const factor = a.values[k * a.cols + i];
      if (factor === 0) continue;
      for (let j = 0; j < n; j++) out.values[i * n + j] += factor * b.values[k * n + j];
    }
  }
  return out;
}

/** The first `count` columns, [rows, count]; all if there are fewer. */
export function firstColumns({ rows, cols, values }: Matrix, count: number): Matrix {
  const kept = Math.min(count, cols);
  const out = matrixOf(rows, kept);
  for (let i = 0; i < rows; i++) {
    out.values.set(values.subarray(i * cols, i * cols + kept), i * kept);
  }
  return out;
}

/** Frobenius norm: the root of the sum of squares, without overflow of the squares. */
export function frobenius(values: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i]));
  if (largest === 0 || !Number.isFinite(largest)) return largest;
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] / largest) ** 2;
  return largest * Math.sqrt(sum);
}

function checkInner(left: number, right: number): void {
  if (left === right) return;
  throw new RangeError(`Cannot multiply matrices: inner sizes are ${left} and ${right}`);
}
