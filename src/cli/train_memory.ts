/** What a training run will take, said before its first step, and what it keeps so that it fits. */
import { Batches } from "../data/mod.ts";
import { batchShapes } from "../data/largest_batch.ts";
import { type PackingRules, rowsOf } from "../data/packing.ts";
import { firstTokens, sliceBatch } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { RefusedError } from "../errors.ts";
import { fixedShape } from "../plan/inputs.ts";
import { LONG_TOKENS } from "../plan/passes.ts";
import { freeBytes, freeSwapBytes, processMemory } from "../system/memory.ts";
import { type Fit, fitMemory } from "../train/fit_memory.ts";
import { keepBudget } from "../train/keep_budget.ts";
import { shardCount } from "../train/shard_count.ts";
import {
  type AtOnce,
  partSize,
  positionCost,
  sequencesAtOnce,
  TOKENS_AT_ONCE,
  tokensEach,
} from "../train/micro_batches.ts";
import { packingRules, type PlannedModelOptions } from "../train/planned_options.ts";
import type { BatchSource } from "../train/step.ts";
import { readChosenMemory } from "./chosen_memory.ts";
import { formatBytes } from "./format.ts";
import { memoryPredictor, type Predict, type ReadyWeights } from "./memory_predictor.ts";
import { beyondFree, memoryBudget } from "./memory_budget.ts";
import { madeOf, megabytes } from "./memory_report.ts";
import type { Terminal } from "./output.ts";
import type { TrainFlags } from "./train_flags.ts";

/** Shortest length that a refusal looks at. */
const SHORTEST = 16;

/** What the prediction goes by. */
export interface MemoryParts {
  readonly options: PlannedModelOptions;
  readonly data: {
    readonly train: BatchSource<TokenBatch>;
    readonly validation?: BatchSource<TokenBatch>;
  };
  readonly weightBytes: number;
  /** Bytes of the tokenizer's files; 0 where no text is read. */
  readonly tokenizerBytes: number;
  /** Parts of a batch that are to be computed beside each other; absent: as many as usual. */
  readonly shards?: number;
}

/**
 * Predicts the run's peak, chooses what is kept and how many sequences run at once, and tells both.
 *
 * @returns the choice, whether weights are made ready for the calls, how many parts of a batch are
 * computed beside each other, and how much of a batch runs at once
 * @throws {RefusedError} with the numbers, where nothing fits
 */
export async function fitTraining(
  parts: MemoryParts,
  flags: TrainFlags,
  terminal: Terminal,
): Promise<
  Fit & { readonly atOnce: AtOnce; readonly readyWeights: ReadyWeights; readonly shards: number }
> {
  const chosen = flags.resume ? readChosenMemory(flags.adapterPath) : undefined;
  const shards = shardCount(parts.options.runner, parts.shards ?? chosen?.shards ?? flags.threads);
  const { sequences: together } = fixedShape(parts.options.model.graph);
  const { dropout } = parts.options;
  const packing = packingRules(parts.options, { dropout });
  const rules = { shards, together, packing };
  const { largest, shapes, samples } = await shapesOf(parts.data.train, rules, microSteps(flags));
  const validation = parts.data.validation &&
    await shapesOf(parts.data.validation, rules);
  const [sequences, length] = largest.inputIds.dims;
  const usual: AtOnce = { tokens: TOKENS_AT_ONCE, packing };
  const each = tokensEach(largest, packing);
  const most = Math.min(sequences, sequencesAtOnce(TOKENS_AT_ONCE, each));
  const predictPart = memoryPredictor({
    ...parts,
    ...{ flags, shards, shapes, batches: samples, evaluated: validation?.samples },
  });
  const predict = (count: number, keepBytes: number, readyWeights?: ReadyWeights) =>
    predictPart(
      sliceBatch(largest, 0, partSize(sequences, count, shards)),
      keepBytes,
      readyWeights,
    );
  const there = {
    freeBytes: freeBytes(),
    swapBytes: freeSwapBytes(),
    ownBytes: processMemory().rssBytes,
  };
  const budget = memoryBudget(flags.memoryBudget, there);
  const packed = goOnAsBefore() ?? fitMemory({
    budgetBytes: budget.bytes,
    sequences: most,
    keepBytes: flags.memoryBudget === undefined || flags.gradCheckpoint !== undefined
      ? keepBudget(flags.gradCheckpoint, parts.weightBytes, there.freeBytes, flags.numeric, length)
      : Number.MAX_SAFE_INTEGER,
    mayRecompute: flags.gradCheckpoint === undefined,
    predict,
  });
  /** The choice of the run that is resumed, where that fits still. */
  function goOnAsBefore(): Fit | undefined {
    if (chosen === undefined || chosen.sequences > most) return undefined;
    const predicted = predict(chosen.sequences, chosen.keepBytes);
    if (predicted.peakBytes <= budget.bytes) return { fits: true, ...chosen, predicted };
    terminal.note(
      "There is less memory than when this run began: it keeps less, and the last bits may differ",
    );
  }
  const { readyWeights, ...fit } = madeReady(packed);
  /**
   * With weights as calls need them, where they still fit: the numbers are the same. In `fast` that
   * saves less than activations that are kept do, and takes what those leave; so it does of sequences
   * whose every call has thousands of tokens to do for what it makes of a weight.
   */
  function madeReady(fit: Fit): Fit & { readonly readyWeights: ReadyWeights } {
    const inFloats = flags.numeric === "exact";
    const takesAny = inFloats && length <= LONG_TOKENS;
    const room = takesAny ? Infinity : fit.keepBytes - fit.predicted.savedBytes;
    if (fit.fits && flags.train && !flags.gradCheckpoint && room >= 0) {
      for (const readyWeights of inFloats ? [true] : [true, "deep" as const]) {
        const predicted = predict(fit.sequences, fit.keepBytes, readyWeights);
        const more = predicted.peakBytes - fit.predicted.peakBytes;
        if (predicted.peakBytes <= budget.bytes && more <= room) {
          return { ...fit, predicted, readyWeights };
        }
      }
    }
    return { ...fit, readyWeights: false };
  }
  const needed = fit.predicted.peakBytes;
  if (!fit.fits && needed > budget.mostBytes) {
    const one = sliceBatch(largest, 0, 1);
    throw new RefusedError(
      `Cannot train in ${formatBytes(budget.bytes)} of memory (${budget.source}): ` +
        `${fit.sequences}×${length} tokens take ${megabytes(needed)} (${madeOf(fit.predicted)}), ` +
        `with as little kept as may be: ${whatFits(predictPart, one, budget.bytes)}`,
    );
  }
  terminal.note(
    `Memory: about ${megabytes(needed)} at the peak (${madeOf(fit.predicted)}), ` +
      `${budget.source}`,
  );
  const excess = beyondFree(needed, there);
  if (excess !== undefined) terminal.note(`  ${excess}`);
  if (fit.sequences === most) return { ...fit, atOnce: usual, readyWeights, shards };
  const tokens = fit.sequences * each;
  terminal.note(
    `  batches run ${fit.sequences * length} tokens at a time and add up their gradients, to fit`,
  );
  return { ...fit, atOnce: { tokens, packing }, readyWeights, shards };
}

/** @param most batches that are run; default all */
async function shapesOf(data: BatchSource<TokenBatch>, { shards, together, packing }: {
  readonly shards: number;
  /** Sequences that the model takes at once, where it takes no other number. */
  readonly together?: number;
  readonly packing: PackingRules;
}, most?: number) {
  const first = (batch: TokenBatch) => sliceBatch(batch, 0, together ?? Infinity);
  if (!(data instanceof Batches)) {
    const largest = first(await data.batch(0, 0));
    return { largest, shapes: 1, samples: [largest] };
  }
  const { largest, shapes, samples } = await batchShapes(data, {
    most,
    atOnce: (sequences, each) => partSize(sequences, sequencesAtOnce(TOKENS_AT_ONCE, each), shards),
    positionCost: (length) => positionCost(length, packing),
    computed: packing.sharesPrefixes
      ? (batch) => rowsOf(batch, packing).positions.length
      : undefined,
  });
  return { largest: first(largest), shapes, samples: samples.map(first) };
}

/** Batches that a run looks at; unbounded where it counts epochs. */
function microSteps({ iters = Infinity, gradAccumulationSteps }: TrainFlags): number {
  return iters * gradAccumulationSteps;
}

/** What a refusal advises. */
function whatFits(predict: Predict, one: TokenBatch, budgetBytes: number): string {
  let [, length] = one.inputIds.dims;
  let smallest = Infinity;
  while ((length = length >> 1) >= SHORTEST) {
    const { peakBytes } = predict(firstTokens(one, length), 0, false, length);
    if (peakBytes <= budgetBytes) {
      return `--max-seq-length ${length} would fit, in ${formatBytes(peakBytes)} one at a time`;
    }
    smallest = peakBytes;
  }
  return smallest === Infinity
    ? "a smaller model would fit"
    : `even ${SHORTEST} tokens would take ${formatBytes(smallest)}: the model is too large for it`;
}
