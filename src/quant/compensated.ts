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
import type { Hessian } from "./hessian.ts";
import { roundToNearest } from "./nearest.ts";
import { RowRounder } from "./row_rounder.ts";
import type { Scratch } from "./scratch.ts";
import type { CodeSlab, QuantisedMatrix } from "./types.ts";

/**
 * Rounds `target` (row-major [slab.rows, slab.cols]) to codes and scales like `slab`'s.
 *
 * @param changed rows whose target differs from the slab; all others are returned bit for bit
 * @param scratch holds the result until the next call with it
 */
export function roundCompensated(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
  slab: CodeSlab,
  target: Float32Array,
  hessian: Hessian,
  changed: (row: number) => boolean = () => true,
  scratch?: Scratch,
): CodeSlab {
  const { grid } = matrix;
  const { rows, cols } = slab;
  if (hessian.cols !== cols) {
    throw new RangeError(
      `Activations must have ${cols} features: current value is ${hessian.cols}`,
    );
  }
  const out = roundToNearest(matrix, slab, target, changed, scratch);
  const colGroups = Math.ceil(cols / grid.groupCols);
  const row = new RowRounder(hessian, grid);
  for (let n = 0; n < rows; n++) {
    if (!changed(n)) continue;
    const groups = Math.floor(n / grid.groupRows) * colGroups;
    row.load(
      target.subarray(n * cols, (n + 1) * cols),
      out.zeros.subarray(groups, groups + colGroups),
    );
    const codes = out.codes.subarray(n * cols, (n + 1) * cols);
    const scales = out.scales.subarray(groups, groups + colGroups);
    let best = row.sweep(row.start(codes, scales));
    // Rows that share a scale cannot each choose it.
    if (grid.groupRows === 1) {
      const refitted = row.refit(best, (scale) => matrix.storedScale(scale));
      if (refitted.energy < best.energy) best = row.sweep(refitted);
      scales.set(best.scales);
    }
    codes.set(best.codes);
  }
  return out;
}
