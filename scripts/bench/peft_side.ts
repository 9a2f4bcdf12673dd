/** The peer's side of the training workloads: ../shared/bench/peft_train.py. */
import { run } from "../figures/children.ts";
import type { Workload } from "../figures/workloads.ts";
import type { Context } from "./context.ts";
import type { TrainResult } from "./results.ts";

/** Types that PEFT is measured in; the better one counts. */
export const PEFT_TYPES = ["float32", "bfloat16"] as const;
export type PeftType = (typeof PEFT_TYPES)[number];

/** Trains, and evaluates, once. */
export async function trainPeft(
  { python, shared }: Context,
  workload: Workload,
  dtype: PeftType,
): Promise<TrainResult> {
  const { stdout, peakMb } = await run(python, [
    `${shared}/bench/peft_train.py`,
    ...workload.peft,
    "--dtype",
    dtype,
  ]);
  const found: TrainResult = JSON.parse(stdout.trim().split("\n").at(-1)!);
  // The process's own peak is exact, the tree's is sampled.
  return { ...found, peak_rss_mb: Math.max(found.peak_rss_mb, peakMb) };
}
