/**
 * The changes of one weight in a merge: its rows are scaled, low-rank updates are added to it or multiply its
 * scales, or a fully trained weight replaces it.
 */

/** weight·scale·B·A for one adapter at one module; A is [rank, in], B is [out, rank], row-major. */
export interface LowRankUpdate {
  readonly rank: number;
  readonly loraA: ArrayLike<number>;
  readonly loraB: ArrayLike<number>;
  /** The adapter's scale (alpha/rank, or alpha/√rank) times its weight in this merge. */
  readonly scale: number;
}

/** All changes of one module in a merge. */
export interface ModuleChange {
  /** Module path. */
  readonly path: string;
  /** Updates of all adapters, summed. */
  readonly updates: readonly LowRankUpdate[];
  /**
   * Changes of the scales, s' = s ⊙ (1 + Σ scale·B·A), before anything is added; A is [rank, blocks of
   * a row], B [out, rank].
   */
  readonly scaleUpdates?: readonly LowRankUpdate[];
  /**
   * Factors of the weight's rows before anything is added, [out]: W' = factors ∘ W + Σ scale·B·A; absent
   * for 1. DoRA's.
   */
  readonly rowFactors?: Float64Array;
  /** A fully trained weight, [out, in] row-major, that replaces the base's before the updates. */
  readonly weight?: Float32Array;
  /** A fully trained bias, [out]. */
  readonly bias?: Float32Array;
}

/** A change of rows [offset, offset + rows) of a stored matrix. */
export interface RowChange extends ModuleChange {
  readonly offset: number;
  readonly rows: number;
}

/**
 * Adds the changes that touch rows [from, to) to their values.
 *
 * @param target row-major [to − from, cols], the base's values; changed in place
 * @returns the changed rows
 */
export function addChanges(
  target: Float32Array,
  from: number,
  to: number,
  cols: number,
  changes: readonly RowChange[],
): readonly boolean[] {
  const changed = new Array<boolean>(to - from).fill(false);
  const sum = new Float64Array(cols);
  const before = new Float32Array(cols);
  for (const change of changes) {
    const first = Math.max(from, change.offset);
    const last = Math.min(to, change.offset + change.rows);
    for (let n = first; n < last; n++) {
      const row = target.subarray((n - from) * cols, (n - from + 1) * cols);
      before.set(row);
      const local = n - change.offset;
      if (change.weight !== undefined) {
        row.set(change.weight.subarray(local * cols, (local + 1) * cols));
      }
      const factor = change.rowFactors?.[local] ?? 1;
      if (factor !== 1) { for (let k = 0; k < cols; k++) row[k] *= factor; }
      if (addUpdates(sum.fill(0), local, cols, change.updates)) {
        for (let k = 0; k < cols; k++) row[k] += sum[k];
      }
      changed[n - from] ||= differ(row, before);
    }
  }
  return changed;
}

/**
 * Adds row `n` of Σ scale·B·A to `sum`; returns false if the row is zero, or only rounding errors after
 * cancellation.
 */
function addUpdates(
  sum: Float64Array,
  n: number,
  cols: number,
  updates: readonly LowRankUpdate[],
): boolean {
  let any = false;
  for (const { rank, loraA, loraB, scale } of updates) {
    for (let r = 0; r < rank; r++) {
      const factor = scale * loraB[n * rank + r];
      if (factor === 0) continue;
      any = true;
      const row = r * cols;
      for (let k = 0; k < cols; k++) sum[k] += factor * loraA[row + k];
    }
  }
  return any && !(updates.length > 1 && isNoise(sum, n, cols, updates));
}

/** Share of the terms of a sum below which the result is rounding errors of doubles. */
const NOISE = 1e-12;

/** Whether the terms of row `n` cancel out. */
function isNoise(
  sum: Float64Array,
  n: number,
  cols: number,
  updates: readonly LowRankUpdate[],
): boolean {
  const left = sum.reduce((total, value) => total + Math.abs(value), 0);
  let size = 0;
  for (const { rank, loraA, loraB, scale } of updates) {
    for (let r = 0; r < rank; r++) {
      const factor = Math.abs(scale * loraB[n * rank + r]);
      for (let k = r * cols; k < (r + 1) * cols; k++) size += factor * Math.abs(loraA[k]);
    }
  }
  return left <= NOISE * size;
}

function differ(a: Float32Array, b: Float32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return true;
  return false;
}
