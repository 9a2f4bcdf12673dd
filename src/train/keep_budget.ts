/** How much memory activations may take that a backward pass would otherwise compute again. */

/**
 * What is kept need not be computed twice, but the first bytes save the most time
 * (`scripts/figures/budget.ts`); a box that holds the model can spare this much.
 */
const TIMES_THE_MODEL = 2;

/**
 * @param gradCheckpoint `true`: recompute all; `false`: keep all; absent: keep what fits, in `fast`
 *   with the weights that its steps read, in twice the model's size, and in a quarter of the free memory
 * @param modelBytes size of the model's files
 * @param free bytes the process can still take, where known
 * @param readBytes of the weights that steps in `fast` read; 0 in `exact`, where computing again costs
 *   more
 * @returns bytes of activations that a step may keep
 */
export function keepBudget(
  gradCheckpoint: boolean | undefined,
  modelBytes: number,
  free: number | undefined,
  readBytes = 0,
): number {
  if (gradCheckpoint !== undefined) return gradCheckpoint ? 0 : Number.MAX_SAFE_INTEGER;
  const beside = Math.max(0, TIMES_THE_MODEL * modelBytes - readBytes);
  return Math.min(beside, Math.floor((free ?? 0) / 4));
}
