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
const ROUNDS = 2;

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
    row.store(best, out.codes.subarray(n * cols, (n + 1) * cols));
    if (grid.groupRows === 1) out.scales.set(best.scales, groups);
  }
  return out;
}

/** A choice of codes and scales for the loaded row, in the Hessian's column order. */
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
  readonly #group: Int32Array;
  readonly #w: Float64Array;
  readonly #error: Float64Array;
  readonly #carry: Float64Array;
  #zeros: Float32Array = new Float32Array();

  constructor(readonly hessian: Hessian, readonly grid: CodeGrid) {
    const n = this.#n = hessian.cols;
    this.#group = hessian.order.map((col) => Math.floor(col / grid.groupCols));
    this.#w = new Float64Array(n);
    this.#error = new Float64Array(n);
    this.#carry = new Float64Array(n);
  }

  load(target: Float32Array, zeros: Float32Array): void {
    this.#zeros = zeros;
    for (let i = 0; i < this.#n; i++) this.#w[i] = target[this.hessian.order[i]];
  }

  store(choice: Choice, codes: Int16Array): void {
    for (let i = 0; i < this.#n; i++) codes[this.hessian.order[i]] = choice.codes[i];
  }

  /** The choice that given codes (in the matrix's order) and scales are. */
  evaluate(codes: Int16Array, scales: Float32Array): Choice {
    return this.#choice(this.#reorder(codes), scales);
  }

  #reorder(codes: Int16Array): Int16Array {
    const out = new Int16Array(this.#n);
    for (let i = 0; i < this.#n; i++) out[i] = codes[this.hessian.order[i]];
    return out;
  }

  #choice(codes: Int16Array, scales: Float32Array): Choice {
    const n = this.#n;
    for (let i = 0; i < n; i++) {
      const g = this.#group[i];
      this.#error[i] = this.#w[i] - scales[g] * (codes[i] - this.#zeros[g]);
    }
    const gradient = new Float64Array(n);
    applyHessian(this.hessian, this.#error, gradient);
    let energy = 0;
    for (let i = 0; i < n; i++) energy += this.#error[i] * gradient[i];
    return { codes, scales: scales.slice(), gradient, energy };
  }

  /** Rounds column after column under fixed scales, carrying each error to those that follow. */
  walk(scales: Float32Array): Choice {
    const n = this.#n;
    const { factor } = this.hessian;
    const { min, max } = this.grid;
    const carry = this.#carry.fill(0);
    const codes = new Int16Array(n);
    for (let j = n - 1; j >= 0; j--) {
      const row = j * n;
      const g = this.#group[j];
      const scale = scales[g];
      const zero = this.#zeros[g];
      const wanted = this.#w[j] + carry[j] / factor[row + j];
      const code = scale === 0 ? zero : Math.round(wanted / scale) + zero;
      codes[j] = code < min ? min : code > max ? max : code;
      const error = this.#w[j] - scale * (codes[j] - zero);
      // Component j of Lᵀ·e is complete once rows j..n−1 have been added.
      for (let i = 0; i < j; i++) carry[i] += error * factor[row + i];
    }
    return this.#choice(codes, scales);
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
        const scale = start.scales[this.#group[i]];
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
    for (let i = 0; i < n; i++) centred[i] = choice.codes[i] - this.#zeros[this.#group[i]];
    const normal = new Float64Array(groups * groups);
    const right = new Float64Array(groups);
    const row = new Float64Array(groups);
    for (let i = 0; i < n; i++) {
      if (centred[i] === 0) continue;
      row.fill(0);
      for (let j = 0; j < n; j++) row[this.#group[j]] += h[i * n + j] * centred[j];
      const g = this.#group[i];
      for (let b = 0; b < groups; b++) normal[g * groups + b] += centred[i] * row[b];
      right[g] += centred[i] * choice.gradient[i];
    }
    let trace = 0;
    for (let g = 0; g < groups; g++) trace += normal[g * groups + g];
    if (!(trace > 0)) return choice;
    for (let g = 0; g < groups; g++) normal[g * groups + g] += 1e-6 * trace / groups;
    if (!choleskyInPlace(normal, groups)) return choice;
    const change = choleskySolve(normal, groups, right);
    return this.#choice(choice.codes, choice.scales.map((s, g) => storedScale(s + change[g])));
  }
}
