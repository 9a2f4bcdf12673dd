/** Error-compensated rounding of many rows at once; see `compensated.ts` for the method. */
import type { Batch } from "./batch.ts";
import { codeArray, nearestCode } from "./code_grid.ts";
import { ScaleFit } from "./scale_fit.ts";
import { sweepRows } from "./sweep.ts";
import type { CodeGrid, CodeSlab } from "./types.ts";
import { sideBySide, type Weigher } from "./weigher.ts";

/** Rounds chosen rows of a slab; arrays are reused from slab to slab. */
export class BatchRounder {
  readonly #weigher: Weigher;
  readonly #grid: CodeGrid;
  readonly #order: Int32Array;
  readonly #rows: Int32Array;
  readonly #target: Float32Array;
  readonly #batch: Batch;
  readonly #groups: number;

  /**
   * @param chosen rows of the slab to work on
   * @param start initial codes, scales and zeros
   */
  constructor(
    weigher: Weigher,
    grid: CodeGrid,
    target: Float32Array,
    start: CodeSlab,
    chosen: Int32Array,
  ) {
    const { scratch, hessian: { cols, order } } = weigher;
    const rows = chosen.length;
    this.#weigher = weigher;
    this.#grid = grid;
    this.#order = order;
    this.#rows = chosen;
    this.#groups = Math.ceil(cols / grid.groupCols);
    this.#target = scratch.float32("side target", cols * rows);
    sideBySide(target, chosen, order, this.#target);
    const parts = this.#groups * rows;
    const batch: Batch = {
      rows,
      groupAt: order.map((column) => Math.floor(column / grid.groupCols)),
      codes: codeArray(grid, scratch, "side codes", cols * rows),
      scales: scratch.float32("side scales", parts),
      zeros: scratch.float32("side zeros", parts),
      errors: scratch.float32("side errors", cols * rows),
      energies: new Float64Array(rows),
    };
    for (let r = 0; r < rows; r++) {
      const from = this.#firstGroup(chosen[r]);
      for (let g = 0; g < this.#groups; g++) {
        batch.scales[g * rows + r] = start.scales[from + g];
        batch.zeros[g * rows + r] = start.zeros[from + g];
      }
    }
    this.#batch = batch;
    for (let r = 0; r < rows; r++) this.#take(start, r);
  }

  /** Index of the first scale of a slab's row. */
  #firstGroup(row: number): number {
    return Math.floor(row / this.#grid.groupRows) * this.#groups;
  }

  /** Copies a row's codes from a slab. */
  #take({ codes, cols }: CodeSlab, r: number): void {
    const { rows, codes: own } = this.#batch;
    const from = this.#rows[r] * cols;
    for (let j = 0; j < cols; j++) own[j * rows + r] = codes[from + this.#order[j]];
    this.#measure(r, r + 1);
  }

  /** Computes errors of rows [from, to) from their codes and scales. */
  #measure(from: number, to: number): void {
    const { rows, groupAt, codes, scales, zeros, errors } = this.#batch;
    for (let j = 0; j < groupAt.length; j++) {
      const g = groupAt[j] * rows;
      for (let r = from; r < to; r++) {
        const i = j * rows + r;
        errors[i] = this.#target[i] - scales[g + r] * (codes[i] - zeros[g + r]);
      }
    }
  }

  /** Chooses for each row the better of its current codes and those that a compensating walk finds. */
  async walk(given: CodeSlab): Promise<void> {
    const { rows, errors, energies } = this.#batch;
    const before = await this.#weigher.energies(errors, rows);
    energies.fill(0);
    for (const range of [...this.#weigher.blocks()].reverse()) {
      const v = this.#weigher.columns("walked", range, rows);
      if (range[1] === this.#order.length) v.fill(0);
      else await this.#weigher.timesFactor(range, range[1], errors, rows, v);
      this.#walkBlock(range, v);
    }
    for (let r = 0; r < rows; r++) {
      if (energies[r] < before[r]) continue;
      this.#take(given, r);
      energies[r] = before[r];
    }
  }

  /**
   * Rounds columns [from, to), from the last to the first.
   *
   * @param v errors carried over from the columns after them, as components of Lᵀ·(w − ŵ)
   */
  #walkBlock([from, to]: readonly [number, number], v: Float32Array): void {
    const { rows, groupAt, codes, scales, zeros, errors, energies } = this.#batch;
    const { packed, cols } = this.#weigher.hessian;
    const grid = this.#grid;
    const target = this.#target;
    for (let j = to - 1; j >= from; j--) {
      const pivot = packed[j * cols + j];
      const g = groupAt[j] * rows;
      const own = (j - from) * rows;
      for (let r = 0; r < rows; r++) {
        const at = j * rows + r;
        const scale = scales[g + r];
        const zero = zeros[g + r];
        // Adding the carried errors to the column's value compensates the errors after it.
        const code = scale === 0
          ? zero
          : nearestCode(grid, (target[at] + v[own + r] / pivot) / scale + zero);
        const error = target[at] - scale * (code - zero);
        codes[at] = code;
        errors[at] = error;
        const component = v[own + r] + error * pivot;
        energies[r] += component * component;
      }
      for (let i = from; i < j; i++) {
        const factor = packed[j * cols + i];
        const to = (i - from) * rows;
        for (let r = 0; r < rows; r++) v[to + r] += factor * errors[j * rows + r];
      }
    }
  }

  /** Moves single codes as long as this lowers a row's energy. */
  async sweep(): Promise<void> {
    await sweepRows(this.#weigher, this.#grid, this.#batch);
  }

  /**
   * Gives each row the scales that minimise its energy for its codes, if they lower it.
   *
   * @param storedScale the nearest scale that the layout can store
   */
  async refit(storedScale: (scale: number) => number): Promise<void> {
    const { rows, scales, energies } = this.#batch;
    const fit = new ScaleFit(this.#weigher, this.#batch, this.#groups, this.#grid.groupCols);
    await fit.gather();
    for (let r = 0; r < rows; r++) {
      const found = fit.solve(r, storedScale);
      if (found === undefined || !(found.energy < energies[r])) continue;
      energies[r] = found.energy;
      for (let g = 0; g < this.#groups; g++) scales[g * rows + r] = found.scales[g];
    }
    this.#measure(0, rows);
  }

  /** Writes codes and scales into a slab. */
  store(out: CodeSlab): void {
    const { rows, codes, scales } = this.#batch;
    for (let r = 0; r < rows; r++) {
      const from = this.#firstGroup(this.#rows[r]);
      for (let g = 0; g < this.#groups; g++) out.scales[from + g] = scales[g * rows + r];
      const row = this.#rows[r] * out.cols;
      for (let j = 0; j < out.cols; j++) out.codes[row + this.#order[j]] = codes[j * rows + r];
    }
  }
}
