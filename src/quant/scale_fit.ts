/** Finds the best scales for a row's codes, by least squares. */
import type { Batch } from "./batch.ts";
import { bestScales } from "./best_scales.ts";
import type { Weigher } from "./weigher.ts";

/**
 * Solves (Cᵀ·H·C)·Δs = Cᵀ·H·(w − ŵ) for each row of a batch, where C has a column for each group: its
 * codes without their zero point.
 */
export class ScaleFit {
  readonly #weigher: Weigher;
  readonly #batch: Batch;
  readonly #groups: number;
  /** Matrix columns that a scale covers. */
  readonly #groupCols: number;
  /** Lower triangle of Cᵀ·H·C, row after row, of each row of the batch. */
  readonly #normal: Float32Array;
  /** Cᵀ·H·(w − ŵ), [groups, rows]. */
  readonly #right: Float64Array;
  /** Codes without their zero points, [cols, rows]. */
  readonly #centred: Float32Array<ArrayBuffer>;

  constructor(weigher: Weigher, batch: Batch, groups: number, groupCols: number) {
    this.#weigher = weigher;
    this.#batch = batch;
    this.#groups = groups;
    this.#groupCols = groupCols;
    const { scratch } = weigher;
    this.#normal = scratch.float32("normal", groups * (groups + 1) / 2 * batch.rows).fill(0);
    this.#right = scratch.float64("right", groups * batch.rows).fill(0);
    this.#centred = scratch.float32("centred", batch.codes.length);
    this.#centre();
  }

  #centre(): void {
    const { rows, codes, zeros, groupAt } = this.#batch;
    for (let j = 0, at = 0; j < groupAt.length; j++) {
      const zero = groupAt[j] * rows;
      for (let r = 0; r < rows; r++, at++) this.#centred[at] = codes[at] - zeros[zero + r];
    }
  }

  /** Computes both sides of all rows' equations. */
  async gather(): Promise<void> {
    await this.#gatherRight();
    if (this.#groups === 1) return await this.#gatherOnly();
    const { order } = this.#weigher.hessian;
    const positions = new Int32Array(order.length);
    for (let i = 0; i < order.length; i++) positions[order[i]] = i;
    for (let g = 0; g < this.#groups; g++) await this.#gatherGroup(g, positions);
  }

  async #gatherRight(): Promise<void> {
    const { rows, errors, groupAt } = this.#batch;
    const centred = this.#centred;
    const right = this.#right;
    for (const range of this.#weigher.blocks()) {
      const gradient = this.#weigher.columns("gradient", range, rows);
      await this.#weigher.timesHessian(range, errors, rows, gradient);
      for (let j = range[0]; j < range[1]; j++) {
        const to = groupAt[j] * rows;
        const from = (j - range[0]) * rows;
        const own = j * rows;
        for (let r = 0; r < rows; r++) right[to + r] += centred[own + r] * gradient[from + r];
      }
    }
  }

  /** Computes the single entry of rows with one scale: their group has all columns, in any order. */
  async #gatherOnly(): Promise<void> {
    const { rows } = this.#batch;
    const centred = this.#centred;
    const normal = this.#normal;
    for (const range of this.#weigher.blocks()) {
      const product = this.#weigher.columns("gradient", range, rows);
      await this.#weigher.timesHessian(range, centred, rows, product);
      for (let i = 0, at = range[0] * rows; i < product.length;) {
        for (let r = 0; r < rows; r++) normal[r] += centred[at++] * product[i++];
      }
    }
  }

  /** Computes the entries of one group with itself and the groups after it. */
  async #gatherGroup(group: number, positions: Int32Array): Promise<void> {
    const { rows, groupAt } = this.#batch;
    const { block, scratch } = this.#weigher;
    const centred = this.#centred;
    const normal = this.#normal;
    const first = group * this.#groupCols;
    const members = positions.subarray(first, first + this.#groupCols);
    const own = scratch.float32("centred members", members.length * rows);
    for (let k = 0; k < members.length; k++) {
      own.set(centred.subarray(members[k] * rows, (members[k] + 1) * rows), k * rows);
    }
    for (let from = first; from < positions.length; from += block) {
      const others = positions.subarray(from, from + block);
      const product = scratch.float32("gradient", others.length * rows);
      await this.#weigher.timesPart(others, members, own, rows, product);
      for (let i = 0; i < others.length; i++) {
        const g = groupAt[others[i]];
        const to = (g * (g + 1) / 2 + group) * rows;
        const [at, by] = [others[i] * rows, i * rows];
        for (let r = 0; r < rows; r++) normal[to + r] += centred[at + r] * product[by + r];
      }
    }
  }

  /** A row's best storable scales, and its energy with them. */
  solve(
    r: number,
    storedScale: (scale: number) => number,
  ): { readonly scales: Float32Array; readonly energy: number } | undefined {
    const { rows, scales, energies } = this.#batch;
    const n = this.#groups;
    const normal = new Float64Array(n * n);
    const right = new Float64Array(n);
    const old = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      right[i] = this.#right[i * rows + r];
      old[i] = scales[i * rows + r];
      for (let j = 0; j <= i; j++) {
        const value = this.#normal[(i * (i + 1) / 2 + j) * rows + r];
        normal[i * n + j] = normal[j * n + i] = value;
      }
    }
    const best = bestScales({ normal, right }, old, storedScale);
    return best && { scales: best.scales, energy: energies[r] + best.change };
  }
}
