/** What decides the memory of a run's batches: which is largest, and what predicts its peak. */
import { batchShapes } from "../data/largest_batch.ts";
import { Batches } from "../data/mod.ts";
import { type PackingRules, rowsOf } from "../data/packing.ts";
import { sliceBatch } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { fixedShape } from "../plan/inputs.ts";
import type { PredictedMemory } from "../plan/memory.ts";
import {
  partSize,
  positionCost,
  sequencesAtOnce,
  TOKENS_AT_ONCE,
  tokensEach,
} from "../train/micro_batches.ts";
import { packingRules, type PlannedModelOptions } from "../train/planned_options.ts";
import { leastParts } from "../train/pipeline.ts";
import { shardCount } from "../train/shard_count.ts";
import type { BatchSource } from "../train/step.ts";
import type { FineTuneConfig } from "./config.ts";
import {
  memoryPredictor,
  type Predict,
  type PredictedChoice,
  type ReadyWeights,
} from "./memory_predictor.ts";

/** What the prediction is based on. */
export interface MemoryParts {
  readonly options: PlannedModelOptions;
  readonly data: {
    readonly train: BatchSource<TokenBatch>;
    readonly validation?: BatchSource<TokenBatch>;
  };
  readonly weightBytes: number;
  /** Bytes of the tokenizer's files; 0 if no text is read. */
  readonly tokenizerBytes: number;
  /** Parts of a batch to compute at the same time; absent: as many as usual. */
  readonly shards?: number;
  /** Whether several processes train together; default false. */
  readonly isRank?: boolean;
}

/** The most that a run computes. */
export interface RunLoad {
  readonly largest: TokenBatch;
  /** Tokens of its sequences. */
  readonly length: number;
  /** The number of its sequences that run at once if memory does not matter. */
  readonly most: number;
  /** What one of its sequences counts for among the tokens that run at once. */
  readonly each: number;
  readonly packing: PackingRules;
  readonly shards: number;
  /** Predicts the memory for running this many of its sequences at once. */
  readonly predict: (
    sequences: number,
    keepBytes: number,
    readyWeights?: ReadyWeights,
  ) => PredictedMemory;
  readonly predictPart: Predict;
}

/** @param shardsAsked parts of a batch to compute at the same time; absent: as many as usual */
export async function runLoad(
  parts: MemoryParts,
  config:
    & PredictedChoice
    & Pick<FineTuneConfig, "threads" | "iters">,
  shardsAsked: number | undefined,
): Promise<RunLoad> {
  const { options, data } = parts;
  // The threads of a stage divide every operator: its parts run one after another.
  const shards = options.pipeline === undefined
    ? shardCount(options.runner, shardsAsked ?? config.threads)
    : 1;
  const { sequences: together } = fixedShape(options.model.graph);
  const packing = packingRules(options, { dropout: options.dropout });
  const least = leastParts(options.pipeline);
  const atOnce = (sequences: number, each: number) =>
    sequencesAtOnce(TOKENS_AT_ONCE, each, Math.ceil(sequences / least));
  const rules = { shards, together, packing, atOnce };
  const { largest, shapes, samples } = await shapesOf(data.train, rules, microSteps(config));
  const validation = data.validation && await shapesOf(data.validation, rules);
  const [sequences, length] = largest.inputIds.dims;
  const each = tokensEach(largest, packing);
  const predictPart = memoryPredictor({
    ...parts,
    ...{ config, shards, shapes, batches: samples, evaluated: validation?.samples },
  });
  return {
    ...{ largest, length, each, packing, shards, predictPart },
    most: Math.min(sequences, atOnce(sequences, each)),
    predict: (count, keepBytes, readyWeights) =>
      predictPart(
        sliceBatch(largest, 0, partSize(sequences, count, shards)),
        keepBytes,
        readyWeights,
      ),
  };
}

/** @param most batches that are run; default all */
async function shapesOf(data: BatchSource<TokenBatch>, { shards, together, packing, atOnce }: {
  readonly shards: number;
  /** Sequences that the model takes at once, if it takes no other number. */
  readonly together?: number;
  readonly packing: PackingRules;
  /** How many sequences of so many tokens run at once, of a batch of so many sequences. */
  readonly atOnce: (sequences: number, each: number) => number;
}, most?: number) {
  const first = (batch: TokenBatch) => sliceBatch(batch, 0, together ?? Infinity);
  if (!(data instanceof Batches)) {
    const largest = first(await data.batch(0, 0));
    return { largest, shapes: 1, samples: [largest] };
  }
  const { largest, shapes, samples } = await batchShapes(data, {
    most,
    atOnce: (sequences, each) => partSize(sequences, atOnce(sequences, each), shards),
    positionCost: (length) => positionCost(length, packing),
    computed: packing.sharesPrefixes
      ? (batch) => rowsOf(batch, packing).positions.length
      : undefined,
  });
  return { largest: first(largest), shapes, samples: samples.map(first) };
}

/** The number of batches that a run uses; unbounded if it counts epochs. */
function microSteps(
  { iters = Infinity, gradAccumulationSteps }: Pick<
    FineTuneConfig,
    "iters" | "gradAccumulationSteps"
  >,
): number {
  return iters * gradAccumulationSteps;
}
