/**
 * The quadratic form that gives the change of a layer's outputs for a change of weights.
 *
 * For inputs X [tokens, cols] and a row e of weight errors, ‖X·eᵀ‖² = e·H·eᵀ with H = Xᵀ·X.
 */
import { BLOCK, factorLower } from "./factor.ts";
import { type MatrixProduct, plainProduct } from "./product.ts";
import { Scratch } from "./scratch.ts";

/** Sum of x·xᵀ over the inputs of a linear layer. */
export interface Gram {
  /** Input features. */
  readonly cols: number;
  /** Inputs summed over. */
  readonly count: number;
  /** Row-major [cols, cols], symmetric. */
  readonly values: Float32Array<ArrayBuffer>;
}

/**
 * A damped Gram matrix H with reordered columns, and its Cholesky factor, stored in one array.
 *
 * Rounding walks from the last column to the first, so the columns with the largest inputs come last:
 * they are rounded first, while all others can still compensate their errors.
 */
export interface Hessian {
  readonly cols: number;
  /** `order[i]` is the matrix column at position i. */
  readonly order: Int32Array;
  /** Row-major [cols, cols]: above the diagonal H, on it and below L of H = L·Lᵀ, all reordered. */
  readonly packed: Float32Array<ArrayBuffer>;
  /** Diagonal of H, reordered. */
  readonly diagonal: Float32Array;
  /** Divisor of H: e·H·eᵀ·scale is the sum of squared output errors, damping included. */
  readonly scale: number;
}

/** How to prepare a {@linkcode Hessian}. */
export interface HessianOptions {
  /**
   * Share of the mean diagonal added to the diagonal: it prevents an exact fit to few inputs, and
   * arbitrary weights of features that never occurred.
   */
  readonly damping?: number;
  readonly multiply?: MatrixProduct;
  readonly scratch?: Scratch;
  /** Columns factored between two products. */
  readonly block?: number;
}

/**
 * Prepares a Gram matrix for `roundCompensated`. The result overwrites the array of its values: a layer
 * of 1,536 inputs has 9 MB of them.
 *
 * @throws {RangeError} for a matrix that is not finite
 */
export async function hessianOf(
  gram: Gram,
  { damping = dampingFor(gram), multiply = plainProduct, scratch = new Scratch(), block = BLOCK }:
    HessianOptions = {},
): Promise<Hessian> {
  const { cols: n, values: packed } = gram;
  const trace = traceOf(gram);
  if (!Number.isFinite(trace)) {
    throw new RangeError("Cannot round with error compensation: the activations are not finite");
  }
  // If all inputs are zero, errors have no weights: the identity then means plain rounding.
  const scale = trace > 0 ? trace / n : 1;
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) =>
    packed[a * n + a] - packed[b * n + b] || b - a
  );
  reorder(packed, order);
  for (let i = 0; i < packed.length; i++) packed[i] /= scale;
  const undamped = Float32Array.from({ length: n }, (_, i) => packed[i * n + i]);
  for (let more = damping;; more *= 10) {
    const diagonal = undamped.map((value) => value + (trace > 0 ? more : 1));
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) packed[i * n + j] = packed[j * n + i];
      packed[i * n + i] = diagonal[i];
    }
    if (await factorLower(packed, n, multiply, scratch, block)) {
      return { cols: n, order, packed, diagonal, scale };
    }
    if (more > 1) throw new RangeError("Cannot factor the activations' Gram matrix");
  }
}

/** Sum of squares of all inputs; not finite if one of them is not. */
export function traceOf({ cols, values }: Gram): number {
  let trace = 0;
  for (let i = 0; i < cols; i++) trace += values[i * cols + i];
  return trace;
}

/**
 * 1% for as many inputs as features, as in GPTQ; less if there are more inputs. A few large features
 * dominate the mean diagonal, so that 1% of it hides the other features even with many inputs: on
 * SmolLM2 a short training kept 66% of its gain with 1% and 75% with a hundredth of that.
 */
export function dampingFor({ cols, count }: Gram): number {
  return Math.min(0.01, Math.max(1e-4, 0.01 * cols / count));
}

/** Reorders rows and columns of a square matrix in place. */
function reorder(values: Float32Array, order: Int32Array): void {
  const n = order.length;
  const row = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) row[j] = values[i * n + order[j]];
    values.set(row, i * n);
  }
  // Rows follow one another around the cycles of the permutation.
  const done = new Uint8Array(n);
  for (let start = 0; start < n; start++) {
    if (done[start] !== 0) continue;
    row.set(values.subarray(start * n, (start + 1) * n));
    let at = start;
    for (; order[at] !== start; at = order[at]) {
      values.copyWithin(at * n, order[at] * n, (order[at] + 1) * n);
      done[at] = 1;
    }
    values.set(row, at * n);
    done[at] = 1;
  }
}
