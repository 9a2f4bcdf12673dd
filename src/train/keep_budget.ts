/** The memory that may hold activations which a backward pass would otherwise compute again. */
import type { Numeric } from "../plan/names.ts";

/**
 * Multiples of the model's size. What is kept need not be computed twice, but the first bytes save the most
 * time (`scripts/figures/budget.ts`), and a machine that holds the model can spare as much again. In `fast`
 * what is kept is half as large, and memory may also hold the model's weights rounded, which are larger than
 * in the file.
 */
const TIMES_THE_MODEL: Readonly<Record<Numeric, number>> = { exact: 4, fast: 2 };

/**
 * Tokens of a sequence from which on less is kept. Attention's scores, which are computed again however much
 * is kept, take ever more of a step's time, and what is always needed (the stream between segments, keys and
 * values) takes ever more of the memory.
 */
const LONG_TOKENS = 1024;

/**
 * @param gradCheckpoint `true`: recompute all; `false`: keep all; absent: keep what fits in four
 *   times the model's size, in `fast` in twice its size, and in a quarter of the free memory; of
 *   sequences beyond 1,024 tokens less, by the square of their length
 * @param modelBytes size of the model's files
 * @param free bytes that the process can still take, if known
 * @param longest tokens of the longest sequence
 * @returns bytes of activations that a step may keep
 */
export function keepBudget(
  gradCheckpoint: boolean | undefined,
  modelBytes: number,
  free: number | undefined,
  numeric: Numeric = "exact",
  longest = 0,
): number {
  if (gradCheckpoint !== undefined) return gradCheckpoint ? 0 : Number.MAX_SAFE_INTEGER;
  const share = Math.min(1, LONG_TOKENS / longest) ** 2;
  const most = Math.floor(share * TIMES_THE_MODEL[numeric] * modelBytes);
  return Math.min(most, Math.floor((free ?? 0) / 4));
}
