/**
 * Error-compensated rounding: chooses codes so that a layer's outputs, not its weights, come out right.
 *
 * Per row it minimises (w − ŵ)·H·(w − ŵ)ᵀ over codes and scales, in three steps that each never
 * increase it: (1) round one column after another, each time moving what is left over to the columns
 * not rounded yet (the nearest-plane view of GPTQ, Frantar et al. 2022, arXiv:2210.17323), or start
 * from plain rounding where that is better; (2) coordinate descent, moving single codes while that
 * helps; (3) the scales that are best for those codes, by least squares, and (2) again. A small
 * ΔW that nearest rounding loses entirely survives as a few moved codes and slightly moved scales.
 */
import { choleskyInPlace, choleskySolve } from "./cholesky.ts";
import { applyHessian, type Hessian } from "./hessian.ts";
import { roundToNearest } from "./nearest.ts";
import type { CodeGrid, CodeSlab, QuantisedMatrix } from "./types.ts";

/** Sweeps of coordinate descent; most rows settle in two or three. */
const MAX_SWEEPS = 12;
/** Rounds of refitting the scales and sweeping again. */
const ROUNDS = 1;

/**
 * Rounds `target` (row-major [slab.rows, slab.cols]) to codes and scales like `slab`'s.
 *
 * @param changed rows whose target differs from the slab; all others are returned bit for bit
 */
export function roundCompensated(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
  slab: CodeSlab,
  target: Float32Array,
  hessian: Hessian,
  changed: (row: number) => boolean = () => true,
): CodeSlab {
  const { grid } = matrix;
  const { rows, cols } = slab;
  if (hessian.cols !== cols) {
    throw new RangeError(
      `Activations must have ${cols} features: current value is ${hessian.cols}`,
    );
  }
  const out = roundToNearest(matrix, slab, target, changed);
  const colGroups = Math.ceil(cols / grid.groupCols);
  const row = new RowRounder(hessian, grid);
  for (let n = 0; n < rows; n++) {
    if (!changed(n)) continue;
    const groups = Math.floor(n / grid.groupRows) * colGroups;
    row.load(
      target.subarray(n * cols, (n + 1) * cols),
      out.zeros.subarray(groups, groups + colGroups),
    );
    const nearest = row.evaluate(
      out.codes.subarray(n * cols, (n + 1) * cols),
      out.scales.subarray(groups, groups + colGroups),
    );
    const walked = row.walk(out.scales.subarray(groups, groups + colGroups));
    const first = walked.energy < nearest.energy ? walked : nearest;
    // Rows that share a scale cannot each choose it.
    const best = row.descend(
      first,
      grid.groupRows === 1 ? (scale) => matrix.storedScale(scale) : undefined,
    );
    out.codes.set(best.codes, n * cols);
    if (grid.groupRows === 1) out.scales.set(best.scales, groups);
  }
  return out;
}

/** A choice of codes and scales for the loaded row. */
interface Choice {
  readonly codes: Int16Array;
  readonly scales: Float32Array;
  /** H·(w − ŵ). */
  readonly gradient: Float64Array;
  readonly energy: number;
}

/** Works on one row at a time; buffers are reused from row to row. */
class RowRounder {
  readonly #n: number;
  readonly #groupCols: number;
  readonly #error: Float64Array;
  readonly #carry: Float64Array;
  #target: Float32Array = new Float32Array();
  #zeros: Float32Array = new Float32Array();

  constructor(readonly hessian: Hessian, readonly grid: CodeGrid) {
    this.#n = hessian.cols;
    this.#groupCols = grid.groupCols;
    this.#error = new Float64Array(this.#n);
    this.#carry = new Float64Array(this.#n);
  }

  load(target: Float32Array, zeros: Float32Array): void {
    this.#target = target;
    this.#zeros = zeros;
  }

  /** The choice that given codes and scales are. */
  evaluate(codes: Int16Array, scales: Float32Array): Choice {
    const error = this.#error;
    this.#eachGroup((g, from, to) => {
      for (let k = from; k < to; k++) {
        error[k] = this.#target[k] - scales[g] * (codes[k] - this.#zeros[g]);
      }
    });
    const gradient = new Float64Array(this.#n);
    applyHessian(this.hessian, error, gradient);
    let energy = 0;
    for (let k = 0; k < this.#n; k++) energy += error[k] * gradient[k];
    return { codes: codes.slice(), scales: scales.slice(), gradient, energy };
  }

  #eachGroup(visit: (group: number, from: number, to: number) => void): void {
    for (let g = 0, from = 0; from < this.#n; g++, from += this.#groupCols) {
      visit(g, from, Math.min(from + this.#groupCols, this.#n));
    }
  }

  /** Rounds column after column under fixed scales, carrying each error to those that follow. */
  walk(scales: Float32Array): Choice {
    const { factor, order } = this.hessian;
    const { min, max } = this.grid;
    const carry = this.#carry.fill(0);
    const codes = new Int16Array(this.#n);
    for (let j = this.#n - 1; j >= 0; j--) {
      const row = j * this.#n;
      const k = order[j];
      const g = Math.floor(k / this.#groupCols);
      const scale = scales[g];
      const zero = this.#zeros[g];
      const wanted = this.#target[k] + carry[j] / factor[row + j];
      const code = scale === 0 ? zero : Math.round(wanted / scale) + zero;
      codes[k] = code < min ? min : code > max ? max : code;
      const error = this.#target[k] - scale * (codes[k] - zero);
      // Component j of Lᵀ·e is complete once rows j..n−1 have been added.
      if (error !== 0) { for (let i = 0; i < j; i++) carry[i] += error * factor[row + i]; }
    }
    return this.evaluate(codes, scales);
  }

  /** Sweeps and refits until neither helps. Without `storedScale` the scales stay. */
  descend(start: Choice, storedScale?: (scale: number) => number): Choice {
    let best = this.#sweep(start);
    if (storedScale === undefined) return best;
    for (let round = 0; round < ROUNDS; round++) {
      const refitted = this.#refit(best, storedScale);
      if (!(refitted.energy < best.energy)) break;
      best = this.#sweep(refitted);
    }
    return best;
  }

  /** Moves single codes to the minimum along their column until no move lowers the energy. */
  #sweep(start: Choice): Choice {
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

  /** The scales that minimise the energy for the choice's codes: (Cᵀ·H·C)·Δs = Cᵀ·g. */
  #refit(choice: Choice, storedScale: (scale: number) => number): Choice {
    const n = this.#n;
    const groups = choice.scales.length;
    const { h } = this.hessian;
    const centred = this.#carry;
    this.#eachGroup((g, from, to) => {
      for (let k = from; k < to; k++) centred[k] = choice.codes[k] - this.#zeros[g];
    });
    const normal = new Float64Array(groups * groups);
    const right = new Float64Array(groups);
    this.#eachGroup((g, from, to) => {
      for (let i = from; i < to; i++) {
        const code = centred[i];
        if (code === 0) continue;
        right[g] += code * choice.gradient[i];
        // Both sides are symmetric: groups up to this one are enough.
        for (let b = 0; b <= g; b++) {
          const end = Math.min((b + 1) * this.#groupCols, n);
          let sum = 0;
          for (let j = b * this.#groupCols; j < end; j++) sum += h[i * n + j] * centred[j];
          normal[g * groups + b] += code * sum;
        }
      }
    });
    let trace = 0;
    for (let g = 0; g < groups; g++) trace += normal[g * groups + g];
    if (!(trace > 0)) return choice;
    for (let g = 0; g < groups; g++) normal[g * groups + g] += 1e-6 * trace / groups;
    if (!choleskyInPlace(normal, groups)) return choice;
    const change = choleskySolve(normal, groups, right);
    return this.evaluate(choice.codes, choice.scales.map((s, g) => storedScale(s + change[g])));
  }
}
