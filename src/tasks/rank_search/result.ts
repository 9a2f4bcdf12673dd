/** What a search found, for people, programs and pictures. */
import type { FineTuneConfig } from "../../finetune/mod.ts";
import type { Candidate, CandidateKind } from "../../search/candidate.ts";
import { type Metric, valueOf } from "../../search/metric.ts";
import { type Difference, pairedDifference } from "../../search/paired_difference.ts";
import type { PlottedCandidate } from "../../search/search_plot.ts";
import type { SearchOutcome, Standing } from "../../search/search.ts";
import { mean } from "../../statistics.ts";
import { BYTES_EACH } from "./adapter_shapes.ts";

/** A candidate of a search. */
export interface SearchedCandidate {
  /** As people call it: `rank 4 on q,v`. */
  readonly name: string;
  /** The question that it answers. */
  readonly kind: CandidateKind;
  /** Modules by name, shorthand or path. */
  readonly targetModules: readonly string[];
  /** Rank of the modules without one in `rankPattern`. */
  readonly rank: number;
  /** Ranks of single modules. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Elements of its matrices. */
  readonly parameters: number;
  /** Bytes of its matrices. */
  readonly sizeBytes: number;
  /** Steps after which it was measured. */
  readonly steps: number;
  /** The metric of each seed. */
  readonly values: readonly number[];
  /** The metric's mean. */
  readonly value: number;
  /**
   * How much better than the recommended candidate, with the 95% interval over the seeds; only for those
   * that were trained as long.
   */
  readonly difference?: Difference;
  /** Seconds of a whole training, extrapolated from its last one. */
  readonly seconds: number;
}

/** What to train with, and why. */
export interface Recommendation {
  /** The candidate's name. */
  readonly name: string;
  /** Why, in a sentence. */
  readonly reason: string;
  /** The configuration that trains it. */
  readonly config: FineTuneConfig;
  /** File of that configuration, for `graft train --config`. */
  readonly configPath: string;
  /** Folder of its adapter: of the best seed if the search is complete. */
  readonly adapterPath: string;
}

/** What a search of ranks found. */
export interface RankSearchResult {
  /** What was compared. */
  readonly metric: Metric;
  /** Seeds of each candidate. */
  readonly seeds: readonly number[];
  /** Steps of a whole training. */
  readonly totalSteps: number;
  /** Steps of all trials, as a multiple of a whole training. */
  readonly wholeTrainings: number;
  /** Whether the search came to its end; otherwise its time did. */
  readonly complete: boolean;
  /** In the order of the search. */
  readonly candidates: readonly SearchedCandidate[];
  /** Candidates that could not be trained. */
  readonly failed: readonly { readonly name: string; readonly reason: string }[];
  /** What to train with. */
  readonly recommended: Recommendation;
  /** File of the picture. */
  readonly plotPath: string;
  /** File of these figures. */
  readonly resultPath: string;
}

/** The candidates as they are reported. */
export function searchedCandidates(
  { standings, finalists }: SearchOutcome,
  picked: Standing,
  metric: Metric,
  { totalSteps, secondsOf }: {
    readonly totalSteps: number;
    /** Seconds that a candidate's training has taken so far. */
    readonly secondsOf: (candidate: Candidate) => number;
  },
): readonly SearchedCandidate[] {
  return standings.map((standing) => {
    const { candidate, scores, steps } = standing;
    const { alphaPattern: _, ...shape } = candidate;
    const values = scores.map((score) => valueOf(metric, score));
    const compared = standing !== picked && finalists.includes(standing);
    return {
      ...shape,
      sizeBytes: candidate.parameters * BYTES_EACH,
      ...{ steps, values, value: mean(values) },
      ...(compared ? { difference: pairedDifference(scores, picked.scores) } : {}),
      seconds: secondsOf(candidate) * totalSteps / steps,
    };
  });
}

/** The candidates as they are drawn. */
export function plotted(
  candidates: readonly SearchedCandidate[],
  picked: Standing,
): readonly PlottedCandidate[] {
  return candidates.map((one) => ({
    ...one,
    least: Math.min(...one.values),
    most: Math.max(...one.values),
    finalist: one.steps === picked.steps,
    picked: one.name === picked.candidate.name,
  }));
}
