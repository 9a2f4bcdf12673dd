/** What a merge is asked for. */
import type { TokenBatch } from "../data/targets.ts";
import type { Evaluator, ReferenceLosses } from "../eval/evaluate.ts";
import type { Model } from "../graph/types.ts";
import type { MeasuredOn } from "../lora/merge/certificate_report.ts";
import type { LowRankUpdate, MergeMethod, WeightedAdapter } from "../lora/merge/mod.ts";
import type { GramData } from "./collect_gram.ts";
import type { LatencyOptions } from "./latency.ts";
import type { MergePeers } from "./merge_peers.ts";
import type { MergeReport } from "./merge_progress.ts";
import type { BaseModel } from "./write_model.ts";

/** Data to merge with, in the order it is to be used. */
export interface MergeData {
  readonly objective: "causal" | "classification";
  /** Training data, whose activations error-compensated rounding and fitted scales keep right. */
  readonly train: GramData;
  /** Held-out data, given again from the start each time. */
  heldOut(): Iterable<TokenBatch> | AsyncIterable<TokenBatch>;
  /** Batches of held-out data, where that is known: for the progress shown. */
  readonly heldOutBatches?: number;
  /** Losses on it that were found before, in floats. */
  readonly known?: ReferenceLosses;
  /** What that is, for the certificate; default nothing is said of it. */
  readonly source?: MeasuredOn;
}

export interface MergeRequest {
  readonly base: BaseModel & { readonly sizeBytes: number };
  readonly adapters: readonly WeightedAdapter[];
  /** Folder to write. */
  readonly savePath: string;
  /** One way of rounding; absent: all that make sense are measured and the smallest good one kept. */
  readonly method?: MergeMethod;
  readonly data?: MergeData;
  /** Other processes that are asked for the same; the first one writes. */
  readonly peers?: MergePeers;
  /** Measures models on held-out data; default: through the inference graph. */
  readonly evaluate?: Evaluator;
  /** Tunes the scales of a model on data; without it none are tuned. */
  readonly tune?: ScaleTuner;
  /** Share of the gain to aim at; default 0.995. */
  readonly minGainKept?: number;
  /** Whether adapted matrices may move to 8 bits where their own keep too little; default false. */
  readonly allowLarger?: boolean;
  /**
   * Seconds after which nothing more is tried once there is a way that may be written; default: no
   * limit.
   */
  readonly timeBudget?: number;
  /** Replaces an existing folder, and writes the best candidate even where it keeps too little. */
  readonly force?: boolean;
  /** Whether to time the models; default true where there is data. */
  readonly latency?: boolean | LatencyOptions;
  /** Told of each matrix, batch or run as it is done. */
  readonly onProgress?: (report: MergeReport) => void;
  /** Told what was found on the way: losses, ways of merging that do not work out. */
  readonly onNote?: (text: string) => void;
  /** Ends the work at the next matrix, batch or round: its reason is thrown and nothing is left. */
  readonly signal?: AbortSignal;
}

/**
 * Finds changes of the scales of modules of a merged model that bring back what rounding took.
 *
 * @param paths of the adapted modules; those without scales of their rows or blocks are left alone
 * @throws {UsageError | BadInputError | RefusedError} where none of them can be tuned
 */
export type ScaleTuner = (
  model: Model,
  paths: ReadonlySet<string>,
  how: {
    /** How often this model has been tuned before: each time goes on in the data. */
    readonly round: number;
    /** Of the first updates, where these are of some hundred targets. */
    readonly learningRate: number;
    /** What to distil from; absent: what counts are the data's labels. */
    readonly teacher?: Model;
    readonly onStep?: (step: number, steps: number, loss: number) => void;
    readonly signal?: AbortSignal;
  },
) => Promise<ReadonlyMap<string, LowRankUpdate>>;
