/** What became of each adapted matrix of a base in a model that was merged from it. */
import type { Model } from "../../graph/types.ts";
import { dequantizeSlab, readValues, slabs } from "../../quant/dequantize.ts";
import { Scratch } from "../../quant/scratch.ts";
import { storedMatrix } from "../stored_matrix.ts";
import { addChanges, type ModuleChange } from "./delta.ts";
import { moduleAt, modulesOf } from "./isolate.ts";
import type { MatrixReport } from "./matrix.ts";
import { Sums } from "./sums.ts";

/**
 * Reports of matrices whose codes or scales were changed after they were merged.
 *
 * @param changes what was to be merged
 * @param merged the model as it was written, its modules under the base's paths
 * @param before reports of the same matrices, which name them; their output errors no longer hold
 */
export async function compareMerged(
  base: Model,
  changes: readonly ModuleChange[],
  merged: Model,
  before: readonly MatrixReport[],
): Promise<readonly MatrixReport[]> {
  const [old, now] = [modulesOf(base), modulesOf(merged)];
  const scratch = new Scratch();
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
      const read = readValues(from, first, last, scratch);
      const floats = (name: string) => scratch.float32(`compared ${name}`, read.length);
      const [values, target] = [floats("base"), floats("target")];
      values.set(read);
      target.set(read);
      const changed = addChanges(target, first, last, from.cols, rows);
      if (from.kind === "quantised" && to.kind === "quantised") {
        const codes = from.read(first, last, scratch).codes.slice();
        const slab = to.read(first, last, scratch);
        for (let i = 0; i < codes.length; i++) if (codes[i] !== slab.codes[i]) sums.changedCodes++;
        await sums.add(values, target, dequantizeSlab(to.grid, slab, floats("merged")), changed);
      } else {
        await sums.add(values, target, readValues(to, first, last, scratch), changed);
      }
    }
    reports.push({ ...report, ...sums.report(from.rows * from.cols) });
  }
  return reports;
}
