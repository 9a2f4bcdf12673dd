/** The scales that are best for a row's codes, by least squares. */
import type { Batch } from "./batch_rounder.ts";
import { choleskyInPlace, choleskySolve } from "./cholesky.ts";
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

  constructor(weigher: Weigher, batch: Batch, groups: number, groupCols: number) {
    this.#weigher = weigher;
    this.#batch = batch;
    this.#groups = groups;
    this.#groupCols = groupCols;
    const { scratch } = weigher;
    this.#normal = scratch.float32("normal", groups * (groups + 1) / 2 * batch.rows).fill(0);
    this.#right = scratch.float64("right", groups * batch.rows).fill(0);
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
    for (const range of this.#weigher.blocks()) {
      const gradient = this.#weigher.columns("gradient", range, rows);
      await this.#weigher.timesHessian(range, errors, rows, gradient);
      for (let j = range[0]; j < range[1]; j++) {
        const to = groupAt[j] * rows;
        const from = (j - range[0]) * rows;
        for (let r = 0; r < rows; r++) {
          this.#right[to + r] += this.#centred(j, r) * gradient[from + r];
        }
      }
    }
  }

  /** The one entry of rows that have one scale: their group has all columns, in any order. */
  async #gatherOnly(): Promise<void> {
    const { rows, codes } = this.#batch;
    const { scratch } = this.#weigher;
    const centred = scratch.float32("centred", codes.length);
    for (let j = 0, at = 0; at < codes.length; j++) {
      for (let r = 0; r < rows; r++) centred[at++] = this.#centred(j, r);
    }
    for (const range of this.#weigher.blocks()) {
      const product = this.#weigher.columns("gradient", range, rows);
      await this.#weigher.timesHessian(range, centred, rows, product);
      for (let i = 0, at = range[0] * rows; i < product.length;) {
        for (let r = 0; r < rows; r++) this.#normal[r] += centred[at++] * product[i++];
      }
    }
  }

  /** Entries of one group with itself and those after it. */
  async #gatherGroup(group: number, positions: Int32Array): Promise<void> {
    const { rows, groupAt } = this.#batch;
    const { block, scratch } = this.#weigher;
    const first = group * this.#groupCols;
    const members = positions.subarray(first, first + this.#groupCols);
    const centred = scratch.float32("centred", members.length * rows);
    for (let k = 0; k < members.length; k++) {
      for (let r = 0; r < rows; r++) centred[k * rows + r] = this.#centred(members[k], r);
    }
    for (let from = first; from < positions.length; from += block) {
      const others = positions.subarray(from, from + block);
      const product = scratch.float32("gradient", others.length * rows);
      await this.#weigher.timesPart(others, members, centred, rows, product);
      for (let i = 0; i < others.length; i++) {
        const g = groupAt[others[i]];
        const to = (g * (g + 1) / 2 + group) * rows;
        for (let r = 0; r < rows; r++) {
          this.#normal[to + r] += this.#centred(others[i], r) * product[i * rows + r];
        }
      }
    }
  }

  #centred(position: number, r: number): number {
    const { rows, codes, zeros, groupAt } = this.#batch;
    return codes[position * rows + r] - zeros[groupAt[position] * rows + r];
  }

  /** A row's best scales, as they can be stored, and its energy with them. */
  solve(
    r: number,
    storedScale: (scale: number) => number,
  ): { readonly scales: Float32Array; readonly energy: number } | undefined {
    const { rows, scales: old, energies } = this.#batch;
    const n = this.#groups;
    const normal = new Float64Array(n * n);
    const right = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      right[i] = this.#right[i * rows + r];
      for (let j = 0; j <= i; j++) {
        const value = this.#normal[(i * (i + 1) / 2 + j) * rows + r];
        normal[i * n + j] = normal[j * n + i] = value;
      }
    }
    const change = solveDamped(normal, right);
    if (change === undefined) return undefined;
    const scales = Float32Array.from(change, (by, g) => storedScale(old[g * rows + r] + by));
    const moved = Float64Array.from(scales, (scale, g) => scale - old[g * rows + r]);
    let energy = energies[r];
    for (let g = 0; g < n; g++) {
      energy -= 2 * moved[g] * right[g];
      for (let b = 0; b < n; b++) energy += moved[g] * normal[g * n + b] * moved[b];
    }
    return { scales, energy };
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
