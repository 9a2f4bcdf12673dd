/** A batch in the parts that a step computes beside each other. */
import { shareBatch } from "../data/share_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { packingRules, type PlannedModelOptions, type PlanUse } from "./planned_options.ts";
import { type Prepared, prepareParts } from "./step_inputs.ts";

/** A batch as training computes it. */
export interface DividedBatch {
  /** Those of the parts that have targets. */
  readonly parts: readonly Prepared[];
  /** What each is planned for. */
  readonly use: PlanUse & { readonly parts: number };
}

export function divideBatch(
  options: PlannedModelOptions,
  batch: TokenBatch,
  use: Omit<PlanUse, "passes" | "parts"> = {},
): DividedBatch {
  const { lanes = 1 } = options;
  const rules = packingRules(options, use);
  const shares = shareBatch(batch, lanes, rules.sharesPrefixes);
  const parts = prepareParts(shares, rules);
  // One that is left of several runs on all threads.
  return { parts, use: { ...use, passes: ["training"], parts: Math.max(1, parts.length) } };
}
