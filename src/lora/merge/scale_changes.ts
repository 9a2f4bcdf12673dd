/** Changes of the scales of a stored matrix; the codes stay. */
import type { Scratch } from "../../quant/scratch.ts";
import type { CodeGrid, CodeSlab, QuantisedMatrix } from "../../quant/types.ts";
import type { RowChange } from "./delta.ts";

/**
 * A slab with changed scales, as the layout can store them; the slab itself if there is no change of
 * scales.
 *
 * @param scratch holds the scales until the next call with it
 */
export function withScaleChanges<Slab extends Pick<CodeSlab, "from" | "rows" | "cols" | "scales">>(
  matrix: Pick<QuantisedMatrix, "storedScale"> & { readonly grid: Pick<CodeGrid, "groupCols"> },
  slab: Slab,
  changes: readonly RowChange[],
  scratch: Scratch,
): Slab {
  if (changes.every(({ scaleUpdates = [] }) => scaleUpdates.length === 0)) return slab;
  const blocks = Math.ceil(slab.cols / matrix.grid.groupCols);
  const scales = scratch.float32("changed scales", slab.scales.length);
  scales.set(slab.scales);
  for (const change of changes) {
    const first = Math.max(slab.from, change.offset);
    const last = Math.min(slab.from + slab.rows, change.offset + change.rows);
    for (let row = first; row < last; row++) {
      for (let block = 0; block < blocks; block++) {
        const by = 1 + changeAt(change, row - change.offset, block, blocks);
        const at = (row - slab.from) * blocks + block;
        // Unchanged scales keep the bytes of the file.
        if (by !== 1) scales[at] = matrix.storedScale(Math.fround(slab.scales[at] * by));
      }
    }
  }
  return { ...slab, scales };
}

/** Σ scale·B·A at a row and block, in float32 as graphs compute it. */
function changeAt(
  { scaleUpdates = [] }: RowChange,
  row: number,
  block: number,
  blocks: number,
): number {
  let sum = 0;
  for (const { rank, loraA, loraB, scale } of scaleUpdates) {
    for (let r = 0; r < rank; r++) {
      sum += loraB[row * rank + r] * Math.fround(scale * loraA[r * blocks + block]);
    }
  }
  return Math.fround(sum);
}
