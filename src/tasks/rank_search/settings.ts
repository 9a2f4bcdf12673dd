/** What a search of ranks is given: the parameters of its trainings, and its own. */
import { type Given, wholeConfig } from "../../config/given.ts";
import { parseDuration } from "../../config/duration.ts";
import type { ParametersOf } from "../../config/parameter.ts";
import { parseSize } from "../../config/size.ts";
import { ParameterError } from "../../errors.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneConfig } from "../../finetune/mod.ts";
import { SEARCH_METRICS, type SearchMetric } from "../../search/metric.ts";

/** Parameters of a training that a search decides itself, or that make no sense in one. */
export type DecidedBySearch =
  | "train"
  | "test"
  | "rank"
  | "rankPattern"
  | "adapterPath"
  | "saveAs"
  | "resumeAdapterFile"
  | "keepCheckpoints"
  | "reportTo"
  | "resume"
  | "overwrite";

const DECIDED: Readonly<Record<DecidedBySearch, true>> = {
  train: true,
  test: true,
  rank: true,
  rankPattern: true,
  adapterPath: true,
  saveAs: true,
  resumeAdapterFile: true,
  keepCheckpoints: true,
  reportTo: true,
  resume: true,
  overwrite: true,
};

/** The entries of a table by parameter that every trial has in common. */
export function ofTrials<T extends object>(table: T): Omit<T, DecidedBySearch> {
  const kept = Object.entries(table).filter(([key]) => !Object.hasOwn(DECIDED, key));
  return Object.fromEntries(kept) as Omit<T, DecidedBySearch>;
}

/** The parameters that all trainings of a search have in common. */
export type TrialConfig = Omit<FineTuneConfig, DecidedBySearch>;

/** A search of ranks. */
export interface RankSearchConfig extends TrialConfig {
  /** Ranks to try, ascending; default 1, 2, 4, … 64. */
  readonly ranks: readonly number[];
  /**
   * Other sets of modules to try with as many parameters as the rank that was chosen, each as
   * `targetModules` has them, with commas; default: q; q,v; attention; all-linear, as far as the model
   * has them.
   */
  readonly targetSets?: readonly string[];
  /** Whether ranks that follow the gradient's singular values, module by module, are tried, too. */
  readonly perLayer: boolean;
  /** Seeds per candidate, at least 2: `seed`, `seed` + 1, … */
  readonly seeds: number;
  /** What is compared; `auto` is accuracy where the task has it, else loss. */
  readonly metric: SearchMetric;
  /**
   * Whether candidates that are behind are left after part of the steps, and ranks after those that no
   * longer help; otherwise every candidate is trained to its end.
   */
  readonly halving: boolean;
  /** One candidate in this many goes on, and takes this many times the steps; at least 2. */
  readonly halvingFactor: number;
  /** Largest adapter, such as `500K`; matrices have four bytes per parameter. */
  readonly adapterBudget?: string;
  /** How long the search may take, such as `90m` or `8h`. */
  readonly timeBudget?: string;
  /** Number of candidates whose adapter is kept, the best ones. */
  readonly keep: number;
  /** Folder of the search. */
  readonly savePath: string;
  /** Whether to go on with the search in `savePath`. */
  readonly resume: boolean;
  /** Whether to drop an earlier search in `savePath`. */
  readonly overwrite: boolean;
}

const SHARED_PARAMETERS: ParametersOf<TrialConfig> = ofTrials(FINE_TUNE_PARAMETERS);

/** The parameters of a {@linkcode RankSearchConfig}, but for its ranks. */
export const RANK_SEARCH_PARAMETERS = {
  ...SHARED_PARAMETERS,
  // Ranks differ by little: it takes all rows to see it.
  valBatches: { ...FINE_TUNE_PARAMETERS.valBatches, default: -1 },
  targetSets: { kind: "list", verbatim: true },
  perLayer: { kind: "boolean", default: false },
  seeds: { kind: "integer", default: 3, min: 2, max: 1000 },
  metric: { kind: "text", choices: SEARCH_METRICS, default: "auto" },
  halving: { kind: "boolean", default: true },
  halvingFactor: { kind: "integer", default: 3, min: 2 },
  adapterBudget: { kind: "text" },
  timeBudget: { kind: "text" },
  keep: { kind: "integer", default: 1, min: 1 },
  savePath: { kind: "text", default: "rank-search" },
  resume: { kind: "boolean", default: false, inFile: false },
  overwrite: { kind: "boolean", default: false, inFile: false },
} as const satisfies ParametersOf<Omit<RankSearchConfig, "ranks">>;

/** Ranks to try if none are given. */
const DEFAULT_RANKS: readonly number[] = [1, 2, 4, 8, 16, 32, 64];

/** A {@linkcode RankSearchConfig} as a program writes it: absent parameters take their defaults. */
export type RankSearchInput = Given<RankSearchConfig, "model" | "data">;

/**
 * Fills in the defaults and checks every value.
 *
 * @throws {ParameterError} naming the parameter
 */
export function resolveSearch({ ranks, ...input }: RankSearchInput): RankSearchConfig {
  const config = wholeConfig<Omit<RankSearchConfig, "ranks">>(RANK_SEARCH_PARAMETERS, input);
  if (config.adapterBudget !== undefined) parseSize(config.adapterBudget, "adapterBudget");
  if (config.timeBudget !== undefined) parseDuration(config.timeBudget, "timeBudget");
  if (config.valBatches === 0) {
    throw new ParameterError(
      "valBatches",
      (name) => `${name("valBatches")} must be >= 1, or -1 for all: current value is 0`,
    );
  }
  return { ...config, ranks: checkRanks(ranks ?? DEFAULT_RANKS) };
}

/** @throws {ParameterError} for what is no rank */
function checkRanks(ranks: readonly number[]): readonly number[] {
  const bad = ranks.find((rank) => !Number.isInteger(rank) || rank < 1);
  if (bad !== undefined || ranks.length === 0) {
    throw new ParameterError(
      "ranks",
      (name) =>
        `${name("ranks")} must be whole numbers >= 1: current value is ${
          ranks.length === 0 ? "empty" : bad
        }`,
    );
  }
  return [...new Set(ranks)].sort((a, b) => a - b);
}

/** The configuration of the trainings alone. */
export function trialConfigOf(config: RankSearchConfig): TrialConfig {
  const keys = Object.keys(SHARED_PARAMETERS) as (keyof TrialConfig)[];
  return Object.fromEntries(keys.map((key) => [key, config[key]])) as unknown as TrialConfig;
}
