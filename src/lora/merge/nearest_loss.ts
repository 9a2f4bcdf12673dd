/** Estimates the loss by rounding to nearest on a sample of a merge's rows. */
import type { Model } from "../../graph/types.ts";
import { dequantizeSlab, slabs } from "../../quant/dequantize.ts";
import { roundToNearest } from "../../quant/nearest.ts";
import { Scratch } from "../../quant/scratch.ts";
import { mean } from "../../statistics.ts";
import { storedMatrix } from "../stored_matrix.ts";
import { addChanges, type ModuleChange } from "./delta.ts";
import { moduleAt, modulesOf } from "./isolate.ts";
import { Sums } from "./sums.ts";

/** Number of sampled matrices, and bytes of float32 of each. */
const SAMPLE = { matrices: 8, bytes: 1 << 18 };

/**
 * Rounding error of W + ΔW rounded to nearest, relative to ‖ΔW‖: the mean over the first rows of some of
 * the quantised matrices. At 1 it is as wrong as not merging.
 *
 * @returns `undefined` if no sampled row of a quantised matrix changes
 */
export async function nearestLoss(
  base: Model,
  changes: readonly ModuleChange[],
): Promise<number | undefined> {
  const modules = modulesOf(base);
  const scratch = new Scratch(SAMPLE.bytes);
  const step = Math.max(1, Math.floor(changes.length / SAMPLE.matrices));
  const losses: number[] = [];
  for (const change of changes.filter((_, i) => i % step === 0)) {
    const module = moduleAt(modules, change.path);
    const matrix = storedMatrix(modules.index, module);
    if (matrix.kind === "float") continue;
    const offset = module.slice?.offset ?? 0;
    const row = { ...change, offset, rows: module.outFeatures };
    const slab = [...slabs(matrix, SAMPLE.bytes)].find(([, to]) => to > offset)!;
    const before = matrix.read(...slab, scratch);
    const values = dequantizeSlab(matrix.grid, before);
    const target = values.slice();
    const changed = addChanges(target, ...slab, matrix.cols, [row]);
    const rounded = roundToNearest(matrix, before, target, (n) => changed[n], scratch);
    const sums = new Sums(matrix.cols, undefined);
    await sums.add(values, target, dequantizeSlab(matrix.grid, rounded), changed);
    const { deltaNorm, requantisationError } = sums.report(0);
    if (deltaNorm > 0) losses.push(requantisationError);
  }
  return losses.length === 0 ? undefined : mean(losses);
}
