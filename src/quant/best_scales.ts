/** Finds the scales of least energy for a row's codes. */
import { choleskyInPlace, choleskySolve } from "./cholesky.ts";

/**
 * The equation N·Δs = r of one row: a change of its groups' scales changes its energy by Δsᵀ·N·Δs −
 * 2·Δsᵀ·r.
 */
export interface ScaleEquation {
  /** Symmetric [groups, groups], row-major. */
  readonly normal: Float64Array;
  /** [groups] */
  readonly right: Float64Array;
}

/** Storable scales, and the change of the row's energy that they cause. */
export interface BestScales {
  readonly scales: Float32Array;
  readonly change: number;
}

/**
 * Solves a row's equation and rounds the solution to storable scales.
 *
 * @param old the row's scales, [groups]
 * @param storedScale the nearest scale that the layout can store
 * @returns `undefined` if the equation has no information
 */
export function bestScales(
  { normal, right }: ScaleEquation,
  old: ArrayLike<number>,
  storedScale: (scale: number) => number,
): BestScales | undefined {
  const n = right.length;
  const wanted = solveDamped(normal, right);
  if (wanted === undefined) return undefined;
  const scales = Float32Array.from(wanted, (by, g) => storedScale(old[g] + by));
  const moved = Float64Array.from(scales, (scale, g) => scale - old[g]);
  let change = 0;
  for (let g = 0; g < n; g++) {
    change -= 2 * moved[g] * right[g];
    for (let b = 0; b < n; b++) change += moved[g] * normal[g * n + b] * moved[b];
  }
  return { scales, change };
}

/** Solves A·x = b for a small positive semidefinite A; `undefined` if A is zero. */
function solveDamped(a: Float64Array, b: Float64Array): Float64Array | undefined {
  const n = b.length;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += a[i * n + i];
  if (!(trace > 0)) return undefined;
  const damped = a.slice();
  for (let i = 0; i < n; i++) damped[i * n + i] += 1e-6 * trace / n;
  return choleskyInPlace(damped, n) ? choleskySolve(damped, n, b) : undefined;
}
