/** Coordinate descent over codes, many rows at once. */
import type { Batch } from "./batch.ts";
import { codeArray, leastStep, nearestCode } from "./code_grid.ts";
import type { CodeGrid, Codes } from "./types.ts";
import type { Weigher } from "./weigher.ts";

/** Default number of sweeps; more sweeps were not seen to keep more of an adapter's gain. */
const SWEEPS = 1;
/** A row is settled when a sweep lowers its energy by less than this share. */
const SETTLED = 1e-3;
/** Share of a row's energy that is indistinguishable from 0 in single precision. */
const NOISE = 1e-6;

/**
 * Moves single codes to the minimum along their column until that no longer lowers a row's energy.
 * Settled rows are left out as soon as they are half of all.
 */
export async function sweepRows(
  weigher: Weigher,
  grid: CodeGrid,
  batch: Batch,
  sweeps = SWEEPS,
  nesting = 0,
): Promise<void> {
  for (let left = sweeps; left > 0; left--) {
    const before = batch.energies.slice();
    for (const range of weigher.blocks()) {
      const gradient = weigher.columns("gradient", range, batch.rows);
      await weigher.timesHessian(range, batch.errors, batch.rows, gradient);
      sweepColumns(weigher, grid, batch, range, gradient);
    }
    const active = Int32Array.from(before.keys())
      .filter((r) => batch.energies[r] < (1 - SETTLED) * before[r]);
    if (active.length === 0 || left === 1) return;
    if (2 * active.length > batch.rows) continue;
    const some = picked(weigher, grid, batch, active, nesting);
    await sweepRows(weigher, grid, some, left - 1, nesting + 1);
    putBack(batch, active, some);
    return;
  }
}

/** @param gradient H·(w − ŵ) at columns [from, to); updated within them */
function sweepColumns(
  { hessian: { packed, diagonal, cols } }: Weigher,
  grid: CodeGrid,
  { rows, groupAt, codes, scales, errors, energies }: Batch,
  [from, to]: readonly [number, number],
  gradient: Float32Array,
): void {
  const least = leastStep(grid);
  for (let j = from; j < to; j++) {
    const own = (j - from) * rows;
    const g = groupAt[j] * rows;
    const bend = diagonal[j];
    for (let r = 0; r < rows; r++) {
      const slope = gradient[own + r];
      const scale = scales[g + r];
      // Less than half a step: the current code is the nearest one.
      if (2 * Math.abs(slope) <= bend * Math.abs(scale) * least || scale === 0) continue;
      const at = j * rows + r;
      const code = nearestCode(grid, codes[at] + slope / (bend * scale));
      if (code === codes[at]) continue;
      const step = scale * (code - codes[at]);
      const change = step * (step * bend - 2 * slope);
      // Beyond rounding noise only, so that sweeps end.
      if (!(change < -NOISE * energies[r])) continue;
      codes[at] = code;
      errors[at] -= step;
      energies[r] += change;
      // Columns before this one are done in this sweep; the next sweep computes their gradient again.
      for (let i = j + 1; i < to; i++) {
        gradient[(i - from) * rows + r] -= step * packed[j * cols + i];
      }
    }
  }
}

/** A batch with some of the rows of another one. */
function picked(
  { scratch }: Weigher,
  grid: CodeGrid,
  batch: Batch,
  chosen: Int32Array,
  nesting: number,
): Batch {
  const rows = chosen.length;
  const pick = <T extends Codes>(from: T, to: T): T => {
    for (let at = 0, source = 0; at < to.length; at += rows, source += batch.rows) {
      for (let r = 0; r < rows; r++) to[at + r] = from[source + chosen[r]];
    }
    return to;
  };
  const floats = (name: string, from: Float32Array) =>
    pick(from, scratch.float32(`${name} ${nesting}`, from.length / batch.rows * rows));
  return {
    rows,
    groupAt: batch.groupAt,
    codes: pick(
      batch.codes,
      codeArray(grid, scratch, `codes ${nesting}`, batch.groupAt.length * rows),
    ),
    scales: floats("scales", batch.scales),
    zeros: floats("zeros", batch.zeros),
    errors: floats("errors", batch.errors) as Float32Array<ArrayBuffer>,
    energies: Float64Array.from(chosen, (r) => batch.energies[r]),
  };
}

/** Writes the changed rows back into their original batch. */
function putBack(batch: Batch, chosen: Int32Array, some: Batch): void {
  for (let r = 0; r < chosen.length; r++) batch.energies[chosen[r]] = some.energies[r];
  for (let j = 0; j < batch.groupAt.length; j++) {
    for (let r = 0; r < chosen.length; r++) {
      const at = j * batch.rows + chosen[r];
      batch.codes[at] = some.codes[j * some.rows + r];
      batch.errors[at] = some.errors[j * some.rows + r];
    }
  }
}
