/**
 * Eigenvalues and eigenvectors of symmetric matrices: Householder reflections make the matrix
 * tridiagonal, QR steps with Wilkinson's shift make that diagonal (Golub and Van Loan, "Matrix
 * Computations", 8.3).
 */
import { type Matrix, matrixOf } from "./matrix.ts";
import { reflect, reflectorOf } from "./qr.ts";

/** Eigenvalues, descending, and the vectors of the first of them, as columns [n, count]. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Matrix;
}

/**
 * Decomposes a symmetric matrix, in time that grows with n³.
 *
 * @param a row-major [n, n], of which the lower triangle is read; overwritten
 * @param count vectors wanted; without any, the work is about a sixth
 */
export function symmetricEigen(a: Float64Array, n: number, count = 0): Eigen {
  const { diagonal, off, betas } = tridiagonalize(a, n);
  const turns = count === 0 ? undefined : identity(n);
  diagonalize(diagonal, off, turns);
  const order = [...diagonal.keys()].sort((x, y) => diagonal[y] - diagonal[x]);
  const vectors = matrixOf(n, Math.min(count, n));
  for (let j = 0; j < vectors.cols; j++) {
    const vector = turns!.subarray(order[j] * n, (order[j] + 1) * n);
    for (let k = n - 3; k >= 0; k--) {
      reflect(reflector(a, n, k), betas[k], vector.subarray(k + 1));
    }
    for (let i = 0; i < n; i++) vectors.values[i * vectors.cols + j] = vector[i];
  }
  return { values: Float64Array.from(order, (i) => diagonal[i]), vectors };
}

function identity(n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) out[i * n + i] = 1;
  return out;
}

/**
 * Turns the lower triangle of `a` into a tridiagonal matrix. Reflector k is kept in the part of row k
 * that the symmetric matrix does not need, right of the diagonal.
 */
function tridiagonalize(a: Float64Array, n: number) {
  const diagonal = new Float64Array(n);
  const off = new Float64Array(Math.max(0, n - 1));
  const betas = new Float64Array(Math.max(0, n - 2));
  for (let k = 0; k < n - 2; k++) {
    diagonal[k] = a[k * n + k];
    const v = reflector(a, n, k);
    for (let i = 0; i < v.length; i++) v[i] = a[(k + 1 + i) * n + k];
    const { beta, first } = reflectorOf(v);
    betas[k] = beta;
    off[k] = first;
    if (beta !== 0) updateBlock(a, n, k + 1, v, beta);
  }
  if (n > 1) {
    diagonal[n - 2] = a[(n - 2) * n + n - 2];
    off[n - 2] = a[(n - 1) * n + n - 2];
  }
  if (n > 0) diagonal[n - 1] = a[n * n - 1];
  return { diagonal, off, betas };
}

const reflector = (a: Float64Array, n: number, k: number) => a.subarray(k * n + k + 1, (k + 1) * n);

/** H·S·H of the symmetric block S from row `first` on, for H = I − β·v·vᵀ: S − v·wᵀ − w·vᵀ. */
function updateBlock(
  a: Float64Array,
  n: number,
  first: number,
  v: Float64Array,
  beta: number,
): void {
  const size = n - first;
  const w = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    const row = (first + i) * n + first;
    const vi = v[i];
    let sum = 0;
    for (let j = 0; j < i; j++) {
      const value = a[row + j];
      sum += value * v[j];
      w[j] += value * vi;
    }
    w[i] += sum + a[row + i] * vi;
  }
  let along = 0;
  for (let i = 0; i < size; i++) along += (w[i] *= beta) * v[i];
  for (let i = 0; i < size; i++) w[i] -= beta * along * v[i] / 2;
  for (let i = 0; i < size; i++) {
    const row = (first + i) * n + first;
    const [vi, wi] = [v[i], w[i]];
    for (let j = 0; j <= i; j++) a[row + j] -= vi * w[j] + wi * v[j];
  }
}

/** QR steps per eigenvalue; two or three are usual. */
const MOST_STEPS = 60;

/**
 * Makes a tridiagonal matrix diagonal, in place.
 *
 * @param turns rows that are turned along, [n, n]
 */
function diagonalize(
  diagonal: Float64Array,
  off: Float64Array,
  turns: Float64Array | undefined,
): void {
  let steps = 0;
  for (let last = diagonal.length - 1; last > 0;) {
    let first = last;
    while (first > 0 && !isNegligible(diagonal, off, first - 1)) first--;
    if (first === last) {
      last--;
      steps = 0;
      continue;
    }
    if (++steps > MOST_STEPS) throw new RangeError("The eigenvalues do not converge");
    qrStep(diagonal, off, first, last, turns);
  }
}

function isNegligible(diagonal: Float64Array, off: Float64Array, i: number): boolean {
  const size = Math.abs(diagonal[i]) + Math.abs(diagonal[i + 1]);
  if (Math.abs(off[i]) > Number.EPSILON * size) return false;
  off[i] = 0;
  return true;
}

/** One implicit QR step on rows [first, last]. */
function qrStep(
  diagonal: Float64Array,
  off: Float64Array,
  first: number,
  last: number,
  turns: Float64Array | undefined,
): void {
  const half = (diagonal[last - 1] - diagonal[last]) / 2;
  const corner = off[last - 1];
  const root = half + (half >= 0 ? 1 : -1) * Math.hypot(half, corner);
  const shift = diagonal[last] - corner / root * corner;
  let [x, z] = [diagonal[first] - shift, off[first]];
  for (let k = first; k < last; k++) {
    const r = Math.hypot(x, z);
    const [c, s] = r === 0 ? [1, 0] : [x / r, z / r];
    if (k > first) off[k - 1] = r;
    const [a, b, d] = [diagonal[k], off[k], diagonal[k + 1]];
    diagonal[k] = c * c * a + 2 * c * s * b + s * s * d;
    diagonal[k + 1] = s * s * a - 2 * c * s * b + c * c * d;
    off[k] = c * s * (d - a) + (c * c - s * s) * b;
    if (k < last - 1) {
      x = off[k];
      z = s * off[k + 1];
      off[k + 1] *= c;
    }
    if (turns !== undefined) turnRows(turns, diagonal.length, k, c, s);
  }
}

function turnRows(turns: Float64Array, n: number, k: number, c: number, s: number): void {
  const [x, y] = [turns.subarray(k * n, (k + 1) * n), turns.subarray((k + 1) * n, (k + 2) * n)];
  for (let i = 0; i < n; i++) {
    const [a, b] = [x[i], y[i]];
    x[i] = c * a + s * b;
    y[i] = c * b - s * a;
  }
}
