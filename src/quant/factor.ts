/** Cholesky factors of large matrices, a block of columns at a time. */
import type { MatrixProduct } from "./product.ts";
import type { Scratch } from "./scratch.ts";

/** Columns that are factored one by one; the contribution of the blocks before them is one product. */
export const BLOCK = 64;
/** Rows of a product that are packed at a time. */
const CHUNK = 64;

/**
 * Factors a symmetric positive definite A = L·Lᵀ given by its lower triangle, in place; entries above
 * the diagonal are neither read nor changed.
 *
 * Pivots are summed in double precision, because they suffer most from cancellation.
 *
 * @param a row-major [n, n]
 * @returns false if a pivot is not positive: the triangle is then no longer meaningful
 */
export async function factorLower(
  a: Float32Array,
  n: number,
  multiply: MatrixProduct,
  scratch: Scratch,
  block = BLOCK,
): Promise<boolean> {
  for (let from = 0; from < n; from += block) {
    const to = Math.min(from + block, n);
    if (from > 0) await subtractEarlier(a, n, from, to, multiply, scratch);
    if (!factorColumns(a, n, from, to)) return false;
  }
  return true;
}

/** A[from:, from:to] −= L[from:, :from]·L[from:to, :from]ᵀ, below the diagonal. */
async function subtractEarlier(
  a: Float32Array,
  n: number,
  from: number,
  to: number,
  multiply: MatrixProduct,
  scratch: Scratch,
): Promise<void> {
  const width = to - from;
  const right = scratch.float32("factor right", from * width);
  for (let j = 0; j < width; j++) {
    const row = (from + j) * n;
    for (let c = 0; c < from; c++) right[c * width + j] = a[row + c];
  }
  for (let first = from; first < n; first += CHUNK) {
    const count = Math.min(CHUNK, n - first);
    const left = scratch.float32("factor left", count * from);
    for (let i = 0; i < count; i++) {
      left.set(a.subarray((first + i) * n, (first + i) * n + from), i * from);
    }
    const product = scratch.float32("factor product", count * width);
    await multiply(left, right, product, { m: count, k: from, n: width });
    for (let i = 0; i < count; i++) {
      const row = (first + i) * n + from;
      const below = Math.min(width, first + i - from);
      for (let j = 0; j < below; j++) a[row + j] -= product[i * width + j];
    }
  }
}

/**
 * Finishes columns [from, to), whose entries below the diagonal lack only the contribution of their own
 * block.
 */
function factorColumns(a: Float32Array, n: number, from: number, to: number): boolean {
  for (let i = from; i < n; i++) {
    const row = i * n;
    const last = Math.min(i, to);
    for (let j = from; j < last; j++) {
      let sum = a[row + j];
      for (let c = from; c < j; c++) sum -= a[row + c] * a[j * n + c];
      a[row + j] = sum / a[j * n + j];
    }
    if (i >= to) continue;
    let pivot = a[row + i];
    for (let c = 0; c < i; c++) pivot -= a[row + c] * a[row + c];
    if (!(pivot > 0)) return false;
    a[row + i] = Math.sqrt(pivot);
  }
  return true;
}
