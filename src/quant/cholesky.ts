/** Dense symmetric linear algebra in row-major arrays. */

/**
 * Lower Cholesky factor L of a symmetric positive definite matrix A = L·Lᵀ, both row-major [n, n];
 * `a` is overwritten, its upper triangle with zeros.
 *
 * @returns false if a pivot is not positive: `a` is then no longer meaningful
 */
export function choleskyInPlace(a: Float64Array, n: number): boolean {
  for (let i = 0; i < n; i++) {
    const rowI = i * n;
    for (let j = 0; j < i; j++) {
      const rowJ = j * n;
      a[rowI + j] = (a[rowI + j] - dotRange(a, rowI, rowJ, j)) / a[rowJ + j];
    }
    const pivot = a[rowI + i] - dotRange(a, rowI, rowI, i);
    if (!(pivot > 0)) return false;
    a[rowI + i] = Math.sqrt(pivot);
    a.fill(0, rowI + i + 1, rowI + n);
  }
  return true;
}

/** Σ a[x + m]·a[y + m] over m < count; with four sums, because a single one would wait for each addition. */
function dotRange(a: Float64Array, x: number, y: number, count: number): number {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  let m = 0;
  for (; m + 3 < count; m += 4) {
    s0 += a[x + m] * a[y + m];
    s1 += a[x + m + 1] * a[y + m + 1];
    s2 += a[x + m + 2] * a[y + m + 2];
    s3 += a[x + m + 3] * a[y + m + 3];
  }
  for (; m < count; m++) s0 += a[x + m] * a[y + m];
  return (s0 + s1) + (s2 + s3);
}

/** Solves L·Lᵀ·x = b for a factor from {@linkcode choleskyInPlace}; returns a new array. */
export function choleskySolve(l: Float64Array, n: number, b: Float64Array): Float64Array {
  const x = b.slice();
  for (let i = 0; i < n; i++) {
    let sum = x[i];
    for (let m = 0; m < i; m++) sum -= l[i * n + m] * x[m];
    x[i] = sum / l[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = x[i];
    for (let m = i + 1; m < n; m++) sum -= l[m * n + i] * x[m];
    x[i] = sum / l[i * n + i];
  }
  return x;
}
