/** What a search found, as JSON text. */
import { configValues } from "../../finetune/saved_config.ts";
import type { RankSearchResult, SearchedCandidate } from "./result.ts";

/** The text of `result.json`: keys in snake_case. */
export function resultJson(result: RankSearchResult): string {
  const { recommended } = result;
  return JSON.stringify(
    {
      metric: result.metric,
      seeds: result.seeds,
      total_steps: result.totalSteps,
      whole_trainings: result.wholeTrainings,
      complete: result.complete,
      candidates: result.candidates.map(candidateJson),
      failed: result.failed,
      recommended: {
        name: recommended.name,
        reason: recommended.reason,
        config: configValues({ ...recommended.config, adapterPath: recommended.adapterPath }),
        config_path: recommended.configPath,
        adapter_path: recommended.adapterPath,
      },
      plot_path: result.plotPath,
    },
    null,
    2,
  ) + "\n";
}

function candidateJson(candidate: SearchedCandidate) {
  const { difference } = candidate;
  return {
    name: candidate.name,
    kind: candidate.kind,
    target_modules: candidate.targetModules,
    rank: candidate.rank,
    rank_pattern: candidate.rankPattern,
    parameters: candidate.parameters,
    size_bytes: candidate.sizeBytes,
    steps: candidate.steps,
    values: candidate.values,
    value: candidate.value,
    difference: difference && { mean: difference.mean, half_width: difference.halfWidth },
    seconds: candidate.seconds,
  };
}
