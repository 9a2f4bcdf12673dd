/** How much memory activations may take that a backward pass would otherwise compute again. */

/**
 * What is kept need not be computed twice, but the first bytes save the most time
 * (`scripts/figures/budget.ts`); a box that holds the model can spare this much.
 */
const TIMES_THE_MODEL = 2;

/**
 * @param gradCheckpoint `true`: recompute all; `false`: keep all; absent: keep what fits, with
 *   the weights rounded for the run, in twice the model's size, and in a quarter of the free memory
 * @param modelBytes size of the model's files
 * @param free bytes the process can still take, where known
 * @param roundedBytes of weights rounded for the fast setting
 * @returns bytes of activations that a step may keep
 */
export function keepBudget(
  gradCheckpoint: boolean | undefined,
  modelBytes: number,
  free: number | undefined,
  roundedBytes = 0,
): number {
  if (gradCheckpoint !== undefined) return gradCheckpoint ? 0 : Number.MAX_SAFE_INTEGER;
  const beside = Math.max(0, TIMES_THE_MODEL * modelBytes - roundedBytes);
  return Math.min(beside, Math.floor((free ?? 0) / 4));
}
