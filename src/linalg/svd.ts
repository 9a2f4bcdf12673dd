/**
 * Singular value decompositions M = U·diag(σ)·Vᵀ.
 *
 * Algorithms for three sizes: {@linkcode svd} rotates the columns of a small matrix and is accurate to the
 * last digits even in small singular values; {@linkcode tallSvd} and {@linkcode svdOfProduct} bring tall
 * matrices, and B·A without the product itself, to that size; {@linkcode leadingSvd} takes the eigenvalues of the Gram matrix of a large one, which
 * is fast, and blind to singular values below about 1e-8 of the largest.
 */
import { gramOf } from "./gram.ts";
import { firstColumns, type Matrix, matrixOf, product, transposed } from "./matrix.ts";
import { qr } from "./qr.ts";
import { symmetricEigen } from "./symmetric_eigen.ts";

/** U [m, p], σ descending, V [n, p]; p is min(m, n), or the number of vectors that were asked for. */
export interface Svd {
  /** Left singular vectors, as columns; zeros where σ is zero. */
  readonly u: Matrix;
  /** All singular values, descending. */
  readonly s: Float64Array;
  /** Right singular vectors, as columns; zeros where σ is zero. */
  readonly v: Matrix;
}

/** Cosine of two columns below which they count as orthogonal. */
const ORTHOGONAL = 1e-15;
/** Sweeps over all pairs of columns; about ten suffice for hundreds of columns. */
const MOST_SWEEPS = 60;

/**
 * Decomposes a small matrix by one-sided Jacobi rotations (Hestenes 1958; Demmel and Veselić, "Jacobi's
 * method is more accurate than QR", 1992). Time grows with m·n² for the smaller side n.
 */
export function svd(m: Matrix): Svd {
  if (m.rows < m.cols) {
    const { u, s, v } = svd(transposed(m));
    return { u: v, s, v: u };
  }
  const { rows, cols } = m;
  const columns = transposed(m).values;
  const turns = new Float64Array(cols * cols);
  for (let j = 0; j < cols; j++) turns[j * cols + j] = 1;
  for (let sweep = 0; sweep < MOST_SWEEPS; sweep++) {
    if (!rotatePairs(columns, rows, turns, cols)) break;
  }
  return sortedBySize(columns, rows, turns, cols);
}

/** Makes each pair of columns orthogonal once; returns whether any pair was not. */
function rotatePairs(
  columns: Float64Array,
  rows: number,
  turns: Float64Array,
  cols: number,
): boolean {
  let rotated = false;
  for (let p = 0; p < cols; p++) {
    const x = columns.subarray(p * rows, (p + 1) * rows);
    for (let q = p + 1; q < cols; q++) {
      const y = columns.subarray(q * rows, (q + 1) * rows);
      let [xx, yy, xy] = [0, 0, 0];
      for (let i = 0; i < rows; i++) {
        xx += x[i] * x[i];
        yy += y[i] * y[i];
        xy += x[i] * y[i];
      }
      if (Math.abs(xy) <= ORTHOGONAL * Math.sqrt(xx) * Math.sqrt(yy)) continue;
      rotated = true;
      const cot = (yy - xx) / (2 * xy);
      const tan = (cot >= 0 ? 1 : -1) / (Math.abs(cot) + Math.hypot(1, cot));
      const c = 1 / Math.hypot(1, tan);
      rotate(x, y, c, c * tan);
      rotate(
        turns.subarray(p * cols, (p + 1) * cols),
        turns.subarray(q * cols, (q + 1) * cols),
        c,
        c * tan,
      );
    }
  }
  return rotated;
}

function rotate(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let i = 0; i < x.length; i++) {
    const [a, b] = [x[i], y[i]];
    x[i] = c * a - s * b;
    y[i] = s * a + c * b;
  }
}

function sortedBySize(
  columns: Float64Array,
  rows: number,
  turns: Float64Array,
  cols: number,
): Svd {
  const norms = Float64Array.from({ length: cols }, (_, j) => {
    let sum = 0;
    for (let i = j * rows; i < (j + 1) * rows; i++) sum += columns[i] * columns[i];
    return Math.sqrt(sum);
  });
  const order = [...norms.keys()].sort((a, b) => norms[b] - norms[a]);
  const u = matrixOf(rows, cols);
  const v = matrixOf(cols, cols);
  order.forEach((from, to) => {
    if (norms[from] === 0) return;
    for (let i = 0; i < rows; i++) u.values[i * cols + to] = columns[from * rows + i] / norms[from];
    for (let i = 0; i < cols; i++) v.values[i * cols + to] = turns[from * cols + i];
  });
  return { u, s: Float64Array.from(order, (j) => norms[j]), v };
}

/**
 * Decomposes B·A for B [m, k] and A [k, n] by QR factors of B and Aᵀ and the SVD of the small
 * R_B·R_Aᵀ: the product [m, n] is never formed.
 */
export function svdOfProduct(b: Matrix, a: Matrix): Svd {
  const left = qr(b);
  const right = qr(transposed(a));
  const { u, s, v } = svd(product(left.r, transposed(right.r)));
  return { u: product(left.q, u), s, v: product(right.q, v) };
}

/** Decomposes a matrix of many rows and few columns by its QR factors and the SVD of the small R. */
export function tallSvd(m: Matrix): Svd {
  const { q, r } = qr(m);
  const { u, s, v } = svd(r);
  return { u: product(q, u), s, v };
}

/** The singular values of a large matrix and the vectors of the `count` largest, from its Gram matrix. */
export function leadingSvd(m: Matrix, count: number): Svd {
  if (m.rows < m.cols) {
    const { u, s, v } = leadingSvd(transposed(m), count);
    return { u: v, s, v: u };
  }
  const { values, vectors } = symmetricEigen(gramOf(transposed(m)), m.cols, count);
  const s = values.map((value) => Math.sqrt(Math.max(0, value)));
  const v = firstColumns(vectors, count);
  const u = product(m, v);
  for (let i = 0; i < u.rows; i++) {
    for (let j = 0; j < u.cols; j++) u.values[i * u.cols + j] /= s[j] || Infinity;
  }
  return { u, s, v };
}
