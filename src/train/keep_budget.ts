/** How much memory activations may take that a backward pass would otherwise compute again. */
import { freeBytes } from "../system/memory.ts";

/** Most bytes to keep unasked: what is kept saves a fifth of the time, and boxes share their memory. */
const MOST_BYTES = 512 * 2 ** 20;

/**
 * @param gradCheckpoint `true`: recompute all; `false`: keep all; absent: keep what fits in a quarter
 *   of the free memory, and in {@linkcode MOST_BYTES}
 * @param free bytes the process can still take, where known
 * @returns bytes of activations that a step may keep
 */
export function keepBudget(
  gradCheckpoint: boolean | undefined,
  free: number | undefined = freeBytes(),
): number {
  if (gradCheckpoint !== undefined) return gradCheckpoint ? 0 : Number.MAX_SAFE_INTEGER;
  return Math.min(MOST_BYTES, Math.floor((free ?? 0) / 4));
}
