/** Error-compensated rounding of one row; see `compensated.ts` for the method. */
import { choleskyInPlace, choleskySolve } from "./cholesky.ts";
import type { Hessian } from "./hessian.ts";
import type { CodeGrid } from "./types.ts";

/** Sweeps of coordinate descent; most rows settle in two or three. */
const MAX_SWEEPS = 12;

/** Codes and scales for the loaded row. */
export interface Choice {
  readonly codes: Int16Array;
  readonly scales: Float32Array;
  /** H·(w − ŵ). */
  readonly gradient: Float64Array;
  /** (w − ŵ)·H·(w − ŵ)ᵀ. */
  readonly energy: number;
}

/** Codes with v = Lᵀ·(w − ŵ) in the factor's order; ‖v‖² is their energy. */
interface Walked {
  readonly codes: Int16Array;
  readonly v: Float64Array;
  readonly energy: number;
}

/** Works on one row at a time; buffers are reused from row to row. */
export class RowRounder {
  readonly #n: number;
  readonly #groupCols: number;
  #target: Float32Array = new Float32Array();
  #zeros: Float32Array = new Float32Array();
  #spreadOut = new Float64Array();

  constructor(readonly hessian: Hessian, readonly grid: CodeGrid) {
    this.#n = hessian.cols;
    this.#groupCols = grid.groupCols;
  }

  /** Takes on a row: its wanted values, and the zero point of each of its groups. */
  load(target: Float32Array, zeros: Float32Array): void {
    this.#target = target;
    this.#zeros = zeros;
  }

  /** The better of given codes and those that a compensating walk finds under the same scales. */
  start(codes: Int16Array, scales: Float32Array): Choice {
    const given = this.#walk(scales, (k) => codes[k]);
    const { min, max } = this.grid;
    const walked = this.#walk(scales, (k, g, carried) => {
      const scale = scales[g];
      const zero = this.#zeros[g];
      if (scale === 0) return zero;
      const code = Math.round((this.#target[k] + carried) / scale) + zero;
      return code < min ? min : code > max ? max : code;
    });
    const best = walked.energy < given.energy ? walked : given;
    return {
      codes: best.codes,
      scales: scales.slice(),
      gradient: this.#gradient(best.v),
      energy: best.energy,
    };
  }

  /**
   * Fixes column after column, from the factor's last to its first.
   *
   * @param choose the code of a column, given its group and what the columns before it carry over:
   *   added to the column's value, it would make up for their errors
   */
  #walk(
    scales: Float32Array,
    choose: (column: number, group: number, carried: number) => number,
  ): Walked {
    const { factor, order } = this.hessian;
    const codes = new Int16Array(this.#n);
    const v = new Float64Array(this.#n);
    let energy = 0;
    for (let j = this.#n - 1; j >= 0; j--) {
      const row = j * this.#n;
      const k = order[j];
      const g = Math.floor(k / this.#groupCols);
      codes[k] = choose(k, g, v[j] / factor[row + j]);
      const error = this.#target[k] - scales[g] * (codes[k] - this.#zeros[g]);
      // Component j of Lᵀ·e is complete once rows j..n−1 have been added.
      if (error !== 0) { for (let i = 0; i <= j; i++) v[i] += error * factor[row + i]; }
      energy += v[j] * v[j];
    }
    return { codes, v, energy };
  }

  /** H·e = L·(Lᵀ·e), in the matrix's order. */
  #gradient(v: Float64Array): Float64Array {
    const { factor, order } = this.hessian;
    const gradient = new Float64Array(this.#n);
    for (let j = 0; j < this.#n; j++) {
      gradient[order[j]] = dot(factor, j * this.#n, v, 0, j + 1);
    }
    return gradient;
  }

  /** Moves single codes to the minimum along their column until no move lowers the energy. */
  sweep(start: Choice): Choice {
    const n = this.#n;
    const { h } = this.hessian;
    const { min, max } = this.grid;
    const codes = start.codes.slice();
    const gradient = start.gradient.slice();
    let energy = start.energy;
    for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
      let moved = false;
      for (let i = 0; i < n; i++) {
        const scale = start.scales[Math.floor(i / this.#groupCols)];
        if (scale === 0) continue;
        const curvature = h[i * n + i];
        const wanted = Math.round(codes[i] + gradient[i] / (curvature * scale));
        const code = wanted < min ? min : wanted > max ? max : wanted;
        if (code === codes[i]) continue;
        const step = scale * (code - codes[i]);
        const change = step * (step * curvature - 2 * gradient[i]);
        // Beyond rounding noise only, so that sweeps end.
        if (!(change < -1e-9 * energy)) continue;
        codes[i] = code;
        energy += change;
        moved = true;
        const row = i * n;
        for (let j = 0; j < n; j++) gradient[j] -= step * h[row + j];
      }
      if (!moved) break;
    }
    return { ...start, codes, gradient, energy };
  }

  /** The scales that minimise the energy for a choice's codes: (Cᵀ·H·C)·Δs = Cᵀ·g. */
  refit(choice: Choice, storedScale: (scale: number) => number): Choice {
    const n = this.#n;
    const groups = choice.scales.length;
    const centred = new Float64Array(n);
    for (let k = 0; k < n; k++) {
      centred[k] = choice.codes[k] - this.#zeros[Math.floor(k / this.#groupCols)];
    }
    const spread = this.#spread(centred, groups);
    const normal = new Float64Array(groups * groups);
    const right = new Float64Array(groups);
    for (let i = 0; i < n; i++) {
      const g = Math.floor(i / this.#groupCols);
      right[g] += centred[i] * choice.gradient[i];
      for (let b = 0; b < groups; b++) {
        normal[g * groups + b] += centred[i] * spread[i * groups + b];
      }
    }
    const change = solveDamped(normal, right);
    if (change === undefined) return choice;
    const scales = choice.scales.map((scale, g) => storedScale(scale + change[g]));
    const moved = Float64Array.from(scales, (scale, g) => scale - choice.scales[g]);
    const gradient = choice.gradient.slice();
    for (let i = 0; i < n; i++) {
      for (let b = 0; b < groups; b++) gradient[i] -= spread[i * groups + b] * moved[b];
    }
    let energy = choice.energy;
    for (let g = 0; g < groups; g++) {
      energy -= 2 * moved[g] * right[g];
      for (let b = 0; b < groups; b++) energy += moved[g] * normal[g * groups + b] * moved[b];
    }
    return { codes: choice.codes, scales, gradient, energy };
  }

  /** H·C: what a step of each group's scale does to the gradient; row-major [n, groups]. */
  #spread(centred: Float64Array, groups: number): Float64Array {
    const n = this.#n;
    const { h } = this.hessian;
    if (this.#spreadOut.length !== n * groups) this.#spreadOut = new Float64Array(n * groups);
    const out = this.#spreadOut;
    for (let i = 0; i < n; i++) {
      for (let b = 0; b < groups; b++) {
        const from = b * this.#groupCols;
        const count = Math.min(this.#groupCols, n - from);
        out[i * groups + b] = dot(h, i * n + from, centred, from, count);
      }
    }
    return out;
  }
}

/** Solves A·x = b for a small positive semidefinite A; `undefined` where A is zero. */
function solveDamped(a: Float64Array, b: Float64Array): Float64Array | undefined {
  const n = b.length;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += a[i * n + i];
  if (!(trace > 0)) return undefined;
  const damped = a.slice();
  for (let i = 0; i < n; i++) damped[i * n + i] += 1e-6 * trace / n;
  return choleskyInPlace(damped, n) ? choleskySolve(damped, n, b) : undefined;
}

/**
 * Σ a[x + m]·b[y + m] over m < count; four sums, since one would wait for each addition. Always of
 * the same array types: the engine compiles it for one pair.
 */
function dot(a: Float32Array, x: number, b: Float64Array, y: number, count: number): number {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  let m = 0;
  for (; m + 3 < count; m += 4) {
    s0 += a[x + m] * b[y + m];
    s1 += a[x + m + 1] * b[y + m + 1];
    s2 += a[x + m + 2] * b[y + m + 2];
    s3 += a[x + m + 3] * b[y + m + 3];
  }
  for (; m < count; m++) s0 += a[x + m] * b[y + m];
  return (s0 + s1) + (s2 + s3);
}
