/**
 * The quadratic form that says how much a change of weights changes a layer's outputs.
 *
 * For inputs X [tokens, cols] and a row e of weight errors, ‖X·eᵀ‖² = e·H·eᵀ with H = Xᵀ·X.
 */
import { choleskyInPlace } from "./cholesky.ts";
import { Scratch } from "./scratch.ts";

/** Sum of x·xᵀ over the inputs of a linear layer. */
export interface Gram {
  /** Input features. */
  readonly cols: number;
  /** Inputs summed over. */
  readonly count: number;
  /** Row-major [cols, cols], symmetric. */
  readonly values: Float32Array;
}

/**
 * A damped Gram matrix and the Cholesky factor of it with its columns reordered.
 *
 * Rounding walks from the last reordered column to the first, so the columns with the largest inputs
 * come last: they are rounded first, while all others can still make up for them.
 */
export interface Hessian {
  readonly cols: number;
  /** H damped and scaled to a mean diagonal of 1; row-major [cols, cols]. */
  readonly h: Float32Array;
  /** `order[i]` is the matrix column at position i of the factor. */
  readonly order: Int32Array;
  /** Lower factor L of the reordered H = L·Lᵀ, row-major [cols, cols]. */
  readonly factor: Float32Array;
  /** What `h` was divided by: e·h·eᵀ·scale is the sum of squared output errors, damping included. */
  readonly scale: number;
}

/**
 * Prepares a Gram matrix for `roundCompensated`.
 *
 * @param damping share of the mean diagonal added to the diagonal: it keeps few inputs from being
 *   fitted exactly, and features that never occurred from being free
 * @param scratch holds the result until the next call with it
 * @throws {RangeError} for a matrix that is not finite
 */
export function hessianOf(
  gram: Gram,
  damping = dampingFor(gram),
  scratch = new Scratch(),
): Hessian {
  const n = gram.cols;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += gram.values[i * n + i];
  if (!Number.isFinite(trace)) {
    throw new RangeError("Cannot round with error compensation: the activations are not finite");
  }
  // Inputs that are all zero leave nothing to weigh errors by: the identity then means plain rounding.
  const scale = trace > 0 ? trace / n : 1;
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) =>
    gram.values[a * n + a] - gram.values[b * n + b] || b - a
  );
  for (let more = damping;; more *= 10) {
    const h = damped(gram, scale, trace > 0 ? more : 1, scratch.float32("hessian", n * n));
    const factor = scratch.float64("exact factor", n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) factor[i * n + j] = h[order[i] * n + order[j]];
    }
    if (choleskyInPlace(factor, n)) {
      const stored = scratch.float32("factor", n * n);
      stored.set(factor);
      return { cols: n, h, order, factor: stored, scale };
    }
    if (more > 1) throw new RangeError("Cannot factor the activations' Gram matrix");
  }
}

/**
 * 1% for as many inputs as features, as GPTQ takes; less the more inputs there are. A few large
 * features dominate the mean diagonal, so that 1% of it drowns what many inputs say of the others:
 * on SmolLM2 a short training kept 66% of its gain with 1% and 75% with a hundredth of that.
 */
function dampingFor({ cols, count }: Gram): number {
  return Math.min(0.01, Math.max(1e-4, 0.01 * cols / count));
}

function damped(
  { cols, values }: Gram,
  scale: number,
  damping: number,
  h: Float32Array,
): Float32Array {
  for (let i = 0; i < h.length; i++) h[i] = values[i] / scale;
  for (let i = 0; i < cols; i++) h[i * cols + i] += damping;
  return h;
}

/** g = H·d. */
function applyHessian({ cols: n, h }: Hessian, d: Float64Array, g: Float64Array): void {
  for (let i = 0; i < n; i++) {
    const row = i * n;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    let j = 0;
    for (; j + 3 < n; j += 4) {
      s0 += h[row + j] * d[j];
      s1 += h[row + j + 1] * d[j + 1];
      s2 += h[row + j + 2] * d[j + 2];
      s3 += h[row + j + 3] * d[j + 3];
    }
    for (; j < n; j++) s0 += h[row + j] * d[j];
    g[i] = (s0 + s1) + (s2 + s3);
  }
}

/** e·H·eᵀ·scale: squared output error of one row of weight errors. */
export function outputEnergy(hessian: Hessian, error: Float64Array): number {
  const g = new Float64Array(hessian.cols);
  applyHessian(hessian, error, g);
  let sum = 0;
  for (let i = 0; i < g.length; i++) sum += error[i] * g[i];
  return sum * hessian.scale;
}
