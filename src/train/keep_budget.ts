/** How much memory activations may take that a backward pass would otherwise compute again. */

/** What is kept need not be computed twice; a box that holds the model can spare this much. */
const TIMES_THE_MODEL = 5;

/**
 * @param gradCheckpoint `true`: recompute all; `false`: keep all; absent: keep what fits in five
 *   times the model's size and in a quarter of the free memory
 * @param modelBytes size of the model's files
 * @param free bytes the process can still take, where known
 * @returns bytes of activations that a step may keep
 */
export function keepBudget(
  gradCheckpoint: boolean | undefined,
  modelBytes: number,
  free: number | undefined,
): number {
  if (gradCheckpoint !== undefined) return gradCheckpoint ? 0 : Number.MAX_SAFE_INTEGER;
  return Math.min(TIMES_THE_MODEL * modelBytes, Math.floor((free ?? 0) / 4));
}
