/** Products of a Hessian with many rows at once. */
import { BLOCK } from "./factor.ts";
import type { Hessian } from "./hessian.ts";
import { type MatrixProduct, plainProduct } from "./product.ts";
import { Scratch } from "./scratch.ts";

/**
 * Multiplies rows of weights or their errors by a Hessian, a block of its columns at a time.
 *
 * Rows are stored transposed, [cols, rows]: a loop over all rows at one column then reads neighbours,
 * and a range of columns of all rows is a contiguous matrix. Columns are in the Hessian's order.
 */
export class Weigher {
  constructor(
    readonly hessian: Hessian,
    readonly multiply: MatrixProduct = plainProduct,
    readonly scratch: Scratch = new Scratch(),
    readonly block: number = BLOCK,
  ) {}

  /** Blocks of columns [from, to), from the first on. */
  *blocks(): Generator<readonly [from: number, to: number]> {
    const { cols } = this.hessian;
    for (let from = 0; from < cols; from += this.block) {
      yield [from, Math.min(from + this.block, cols)];
    }
  }

  /** An array for `to − from` columns of all rows, valid until the next call of that name. */
  columns(name: string, [from, to]: readonly [number, number], rows: number) {
    return this.scratch.float32(name, (to - from) * rows);
  }

  /**
   * Columns [from, to) of H·x for each row, [to − from, rows].
   *
   * @param out a scratch array of that size
   */
  async timesHessian(
    [from, to]: readonly [number, number],
    x: Float32Array<ArrayBuffer>,
    rows: number,
    out: Float32Array<ArrayBuffer>,
  ): Promise<void> {
    const { cols, packed, diagonal } = this.hessian;
    const width = to - from;
    // From the block's first column on: its rows, whose lower triangle mirrors the upper one.
    const depth = cols - from;
    const right = this.scratch.float32("panel", width * depth);
    for (let i = 0; i < width; i++) {
      const row = (from + i) * cols + from;
      right.set(packed.subarray(row + i, row + depth), i * depth + i);
      right[i * depth + i] = diagonal[from + i];
      for (let j = 0; j < i; j++) right[i * depth + j] = packed[(from + j) * cols + from + i];
    }
    await this.multiply(right, x.subarray(from * rows), out, { m: width, k: depth, n: rows });
    if (from === 0) return;
    // Before it: the stored rows of the other blocks.
    const left = this.scratch.float32("panel", width * from);
    for (let j = 0; j < from; j++) {
      left.set(packed.subarray(j * cols + from, j * cols + to), j * width);
    }
    const before = this.scratch.float32("before", width * rows);
    await this.multiply(left, x, before, { m: width, k: from, n: rows, transposed: true });
    for (let i = 0; i < before.length; i++) out[i] += before[i];
  }

  /**
   * The contribution of columns [first, cols) to [from, to) of Lᵀ·x for each row, [to − from, rows].
   *
   * @param first at least `from`
   */
  async timesFactor(
    [from, to]: readonly [number, number],
    first: number,
    x: Float32Array<ArrayBuffer>,
    rows: number,
    out: Float32Array<ArrayBuffer>,
  ): Promise<void> {
    const { cols, packed } = this.hessian;
    const [width, depth] = [to - from, cols - first];
    const panel = this.scratch.float32("panel", width * depth);
    for (let j = first; j < cols; j++) {
      const row = j * cols;
      panel.set(packed.subarray(row + from, row + to), (j - first) * width);
      // Entries above the diagonal are not part of the factor.
      if (j < to) panel.fill(0, (j - first) * width + j + 1 - from, (j - first + 1) * width);
    }
    const size = { m: width, k: depth, n: rows, transposed: true };
    await this.multiply(panel, x.subarray(first * rows), out, size);
  }

  /** x·H·xᵀ for each row. */
  async energies(x: Float32Array<ArrayBuffer>, rows: number): Promise<Float64Array> {
    const energies = new Float64Array(rows);
    for (const range of this.blocks()) {
      const v = this.columns("weighed", range, rows);
      await this.timesFactor(range, range[0], x, rows, v);
      for (let at = 0; at < v.length; at += rows) {
        for (let r = 0; r < rows; r++) energies[r] += v[at + r] * v[at + r];
      }
    }
    return energies;
  }

  /**
   * H[left, right]·x for each row, where `left` and `right` are positions and x has the columns at
   * `right`: [left.length, rows].
   */
  async timesPart(
    left: Int32Array,
    right: Int32Array,
    x: Float32Array<ArrayBuffer>,
    rows: number,
    out: Float32Array<ArrayBuffer>,
  ): Promise<void> {
    const [m, k] = [left.length, right.length];
    const panel = this.scratch.float32("panel", m * k);
    const { packed, cols, diagonal } = this.hessian;
    for (let i = 0; i < m; i++) {
      const p = left[i];
      for (let j = 0; j < k; j++) {
        const q = right[j];
        panel[i * k + j] = p === q ? diagonal[p] : packed[p < q ? p * cols + q : q * cols + p];
      }
    }
    await this.multiply(panel, x, out, { m, k, n: rows });
  }
}

/**
 * Transposes chosen rows of a row-major [rows, cols] matrix to [cols, chosen.length], in a Hessian's
 * order.
 */
export function sideBySide(
  values: Float32Array,
  chosen: Int32Array,
  order: Int32Array,
  out: Float32Array,
): void {
  const cols = order.length;
  const rows = chosen.length;
  for (let j = 0; j < cols; j++) {
    const column = order[j];
    for (let r = 0; r < rows; r++) out[j * rows + r] = values[chosen[r] * cols + column];
  }
}
