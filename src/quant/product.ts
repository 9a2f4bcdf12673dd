/**
 * The matrix product, the expensive operation of error-compensated rounding, which a runtime computes
 * faster.
 */

/** Sizes of a product: [m, k]·[k, n]. */
export interface ProductSize {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** Whether the left matrix is stored as its transpose, [k, m]. */
  readonly transposed?: boolean;
}

/**
 * out = a·b, all row-major and without gaps: a [m, k] (or its transpose), b [k, n], out [m, n]. Arrays
 * may be longer than that; `out` must not be one of the others.
 */
export type MatrixProduct = (
  a: Float32Array<ArrayBuffer>,
  b: Float32Array<ArrayBuffer>,
  out: Float32Array<ArrayBuffer>,
  size: ProductSize,
) => Promise<void>;

/** A {@linkcode MatrixProduct} without a runtime. */
export const plainProduct: MatrixProduct = (a, b, out, { m, k, n, transposed = false }) => {
  const [down, across] = transposed ? [1, m] : [k, 1];
  for (let i = 0; i < m; i++) {
    const row = i * n;
    out.fill(0, row, row + n);
    for (let c = 0; c < k; c++) {
      const factor = a[i * down + c * across];
      if (factor === 0) continue;
      const from = c * n;
      for (let j = 0; j < n; j++) out[row + j] += factor * b[from + j];
    }
  }
  return Promise.resolve();
};
