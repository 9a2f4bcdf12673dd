/** Compares the adapted matrices of a base with those of the merged model. */
import type { Model } from "../../graph/types.ts";
import { dequantizeSlab, readValues, slabs } from "../../quant/dequantize.ts";
import { Scratch } from "../../quant/scratch.ts";
import type { StoredMatrix } from "../../quant/types.ts";
import { storedMatrix } from "../stored_matrix.ts";
import { addChanges, type ModuleChange } from "./delta.ts";
import { moduleAt, modulesOf } from "./isolate.ts";
import type { MatrixReport } from "./matrix.ts";
import { Sums } from "./sums.ts";

/**
 * Reports of matrices whose codes or scales were changed after they were merged.
 *
 * @param changes the merged changes
 * @param merged the written model, with modules under the base's paths
 * @param before earlier reports of the same matrices; their output errors are no longer valid
 */
export async function compareMerged(
  base: Model,
  changes: readonly ModuleChange[],
  merged: Model,
  before: readonly MatrixReport[],
): Promise<readonly MatrixReport[]> {
  const [old, now] = [modulesOf(base), modulesOf(merged)];
  // Separate arrays, because the data of one side is needed while the other is read.
  const [ours, theirs] = [new Scratch(), new Scratch()];
  const reports: MatrixReport[] = [];
  for (const { outputError: _, ...report } of before) {
    const modules = report.paths.map((path) => moduleAt(old, path));
    const rows = modules.map(({ path, slice, outFeatures }) => ({
      ...changes.find((change) => change.path === path)!,
      offset: slice?.offset ?? 0,
      rows: outFeatures,
    }));
    const [from, to] = [
      storedMatrix(old.index, modules[0]),
      storedMatrix(now.index, moduleAt(now, modules[0].path)),
    ];
    const sums = new Sums(from.cols, undefined);
    for (const [first, last] of slabs(from)) {
      const base = contentsOf(from, first, last, ours);
      const made = contentsOf(to, first, last, theirs);
      const target = ours.float32("target", base.values.length);
      target.set(base.values);
      const changed = addChanges(target, first, last, from.cols, rows);
      if (base.codes !== undefined && made.codes !== undefined) {
        const { codes } = made;
        for (let i = 0; i < codes.length; i++) if (codes[i] !== base.codes[i]) sums.changedCodes++;
      }
      await sums.add(base.values, target, made.values, changed);
    }
    reports.push({ ...report, ...sums.report(from.rows * from.cols) });
  }
  return reports;
}

/** Values of rows [first, last), and their codes if they have any; valid until the next call. */
function contentsOf(matrix: StoredMatrix, first: number, last: number, scratch: Scratch) {
  if (matrix.kind === "float") {
    return { values: readValues(matrix, first, last, scratch), codes: undefined };
  }
  const slab = matrix.read(first, last, scratch);
  const values = scratch.float32("values", slab.codes.length);
  return { values: dequantizeSlab(matrix.grid, slab, values), codes: slab.codes };
}
