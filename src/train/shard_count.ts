/** The number of parts of a batch that a step computes at the same time. */
import type { Runner } from "../runtime/runner.ts";
import { processor } from "../system/processor.ts";

/**
 * One for each thread, on the CPU. Operators that all threads divide wait for the slowest at the end of each,
 * and products in 8-bit integers can lose a third or more of their speed to this for minutes on end; shards
 * wait once per step (`scripts/figures/shards.ts`).
 *
 * @param threads threads of the runner; absent: one for each core
 */
export function shardCount(runner: Runner, threads: number | undefined): number {
  return runner.inPlace ? threads ?? processor().cores : 1;
}
