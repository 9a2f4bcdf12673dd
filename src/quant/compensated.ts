/**
 * Error-compensated rounding: chooses codes that minimise the error of a layer's outputs, not of its
 * weights.
 *
 * Per row it minimises (w − ŵ)·H·(w − ŵ)ᵀ over codes and scales, in three steps that each never increase
 * it: (1) round one column after another, each time moving the error to the columns not rounded yet (the
 * nearest-plane view of GPTQ, Frantar et al. 2022, arXiv:2210.17323), or start from plain rounding if
 * that is better; (2) coordinate descent, moving single codes while that helps; (3) the scales that are
 * best for those codes, by least squares, and (2) again. A small ΔW that nearest rounding loses entirely
 * survives as a few changed codes and slightly changed scales.
 *
 * All rows of a slab are rounded at once: the errors passed between blocks of columns are then a product
 * of matrices, which a runtime computes tens of times faster than loops here.
 */
import { BatchRounder } from "./batch_rounder.ts";
import { roundToNearest } from "./nearest.ts";
import type { CodeSlab, QuantisedMatrix } from "./types.ts";
import type { Weigher } from "./weigher.ts";

/**
 * Rounds `target` (row-major [slab.rows, slab.cols]) to codes and scales like `slab`'s.
 *
 * @param changed rows whose target differs from the slab; all others are returned bit for bit
 * @returns a slab that is valid until the next call with the weigher's scratch arrays
 */
export async function roundCompensated(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
  slab: CodeSlab,
  target: Float32Array,
  weigher: Weigher,
  changed: (row: number) => boolean = () => true,
): Promise<CodeSlab> {
  const { grid } = matrix;
  const { rows, cols } = slab;
  if (weigher.hessian.cols !== cols) {
    throw new RangeError(
      `Activations must have ${cols} features: current value is ${weigher.hessian.cols}`,
    );
  }
  const out = roundToNearest(matrix, slab, target, changed, weigher.scratch);
  const chosen = Int32Array.from({ length: rows }, (_, row) => row).filter(changed);
  const rounder = new BatchRounder(weigher, grid, target, out, chosen);
  await rounder.walk(out);
  await rounder.sweep();
  // Rows that share a scale cannot each choose it.
  if (grid.groupRows === 1) {
    await rounder.refit((scale) => matrix.storedScale(scale));
    await rounder.sweep();
  }
  rounder.store(out);
  return out;
}
