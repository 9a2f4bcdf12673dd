/** How many parts of a batch a step computes beside each other. */
import type { Runner } from "../runtime/runner.ts";
import { processor } from "../system/processor.ts";

/**
 * One for each thread, on the processor. Operators that all threads divide wait for the slowest at
 * the end of each, and products in 8-bit integers can lose a third and more of their speed to it for
 * minutes on end; shards wait once a step (`scripts/figures/shards.ts`).
 *
 * @param threads of the runner; absent: one for each core
 */
export function shardCount(runner: Runner, threads: number | undefined): number {
  return runner.inPlace ? threads ?? processor().cores : 1;
}
