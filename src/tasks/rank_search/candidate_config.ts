/** The fine-tuning that trains a candidate. */
import type { FineTuneConfig } from "../../finetune/mod.ts";
import { resolveConfig } from "../../finetune/mod.ts";
import type { Candidate } from "../../search/candidate.ts";
import { type RankSearchConfig, trialConfigOf } from "./settings.ts";

/** What a candidate decides of a configuration. */
export type Shape = Pick<Candidate, "targetModules" | "rank" | "rankPattern" | "alphaPattern">;

/**
 * The configuration of a whole training of a candidate, as `graft train` would take it.
 *
 * @throws {ParameterError} for a value that cannot be used
 */
export function candidateConfig(config: RankSearchConfig, shape: Shape): FineTuneConfig {
  const { targetModules, rank, rankPattern, alphaPattern } = shape;
  return resolveConfig({
    ...trialConfigOf(config),
    ...{ targetModules, rank, rankPattern, alphaPattern },
  });
}
