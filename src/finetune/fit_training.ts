/** What memory a training run takes, known before its first step, and what it keeps so that it fits. */
import { firstTokens, sliceBatch } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { type Message, RefusedError, worded } from "../errors.ts";
import { formatBytes } from "../format.ts";
import { madeOf, megabytes } from "../model/memory_report.ts";
import type { SegmentRange } from "../plan/cut.ts";
import type { PredictedMemory } from "../plan/memory.ts";
import { LONG_TOKENS } from "../plan/step_calls.ts";
import { freeBytes, freeSwapBytes, processMemory } from "../system/memory.ts";
import { type Fit, fitMemory } from "../train/fit_memory.ts";
import { keepBudget } from "../train/keep_budget.ts";
import { type AtOnce, TOKENS_AT_ONCE } from "../train/micro_batches.ts";
import { ofAll, type Peers } from "../train/peers.ts";
import { leastParts } from "../train/pipeline.ts";
import { type ChosenMemory, readChosenMemory } from "./chosen_memory.ts";
import type { FineTuneConfig } from "./config.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";
import { beyondFree, type MemoryBudget, memoryBudget, type MemoryThere } from "./memory_budget.ts";
import type { Predict, ReadyWeights } from "./memory_predictor.ts";
import { type MemoryParts, type RunLoad, runLoad } from "./run_load.ts";

/** Shortest length that a refusal considers. */
const SHORTEST = 16;

/** The parameters that decide what is kept. */
export type FitChoice = Pick<
  FineTuneConfig,
  | "resume"
  | "adapterPath"
  | "threads"
  | "memoryBudget"
  | "gradCheckpoint"
  | "numeric"
  | "train"
  | "iters"
  | "gradAccumulationSteps"
  | "batchSize"
  | "optimizer"
  | "loadBest"
>;

/** What a run keeps and how much of a batch it computes at once. */
export interface TrainingFit extends Fit {
  readonly atOnce: AtOnce;
  /** Whether weights are made ready for the calls. */
  readonly readyWeights: ReadyWeights;
  /** Parts of a batch that are computed at the same time. */
  readonly shards: number;
}

/** What a run computes at the most, and what it keeps of that. */
interface FittedLoad {
  readonly load: RunLoad;
  readonly fit: Fit & Pick<TrainingFit, "readyWeights">;
  /** Whether even the smallest choice takes more than there is. */
  readonly refused: boolean;
}

/**
 * Predicts the run's peak memory, chooses what is kept and how much of a batch runs at once, and reports it.
 *
 * @param peers the other processes, if this one is a stage of a pipeline
 * @throws {RefusedError} if nothing fits, with the numbers
 */
export async function fitTraining(
  parts: MemoryParts,
  config: FitChoice,
  onEvent: OnEvent<PreparationEvent>,
  peers?: Peers,
): Promise<TrainingFit> {
  const before = config.resume ? readChosenMemory(config.adapterPath) : undefined;
  // That of another number of stages was of other layers.
  const chosen = before?.stages === (peers?.pipeline?.stages ?? 1) ? before : undefined;
  const usual = await runLoad(parts, config, parts.shards ?? chosen?.shards);
  const free = {
    freeBytes: freeBytes(),
    swapBytes: freeSwapBytes(),
    ownBytes: processMemory().rssBytes,
  };
  const budget = memoryBudget(config.memoryBudget, free);
  const fitIn = async (load: RunLoad, asBefore?: Fit): Promise<FittedLoad> => {
    const keepBytes = keepBytesOf(config, parts.weightBytes, free, load.length);
    const whole = asBefore === undefined && peers?.pipeline === undefined
      ? allReady(keepBytes, load, config, budget)
      : undefined;
    if (whole !== undefined) return { load, fit: whole, refused: false };
    const most = (sequences: number) =>
      fitMemory({
        budgetBytes: budget.bytes,
        sequences,
        keepBytes,
        mayRecompute: config.gradCheckpoint === undefined,
        predict: load.predict,
      });
    const own = asBefore ?? most(load.most);
    const kept = peers?.pipeline === undefined ? own : await inStep(own, most, peers);
    const fit = makeReady(kept, load, config, budget);
    return { load, fit, refused: !fit.fits && fit.predicted.peakBytes > budget.mostBytes };
  };
  let fitted = await fitIn(usual, chosen && goOnAsBefore(chosen, usual, budget, onEvent));
  // Each part of a language model's sequence that is computed beside others has temporaries of its own.
  // Threads that share every operator instead take less memory and more time.
  const divides = parts.options.objective === "causal";
  while (fitted.refused && divides && fitted.load.shards > 1) {
    fitted = await fitIn(await runLoad(parts, config, fitted.load.shards >> 1));
  }
  const { load, fit } = fitted;
  if (fitted.refused) throw refusal(fit, load, budget, peers);
  const { shards, each, packing } = load;
  const fewer = fit.sequences < load.most;
  onEvent({
    kind: "memory",
    ...{ predicted: fit.predicted, budget, beyondFree: beyondFree(fit.predicted.peakBytes, free) },
    ...(fewer ? { tokensAtOnce: fit.sequences * load.length } : {}),
    ...(shards < usual.shards ? { partsAtOnce: shards } : {}),
  });
  const tokens = fewer ? fit.sequences * each : TOKENS_AT_ONCE;
  if (peers?.pipeline !== undefined) await reportStages(fit, peers, parts.options.stage!, onEvent);
  return { ...fit, atOnce: { tokens, packing, leastParts: leastParts(peers?.pipeline) }, shards };
}

/** The choice at which all stages take as many sequences at once as the one with the least memory. */
async function inStep(
  own: Fit,
  most: (sequences: number) => Fit,
  peers: Peers,
): Promise<Fit> {
  const sequences = Math.min(...await ofAll(peers, own.sequences));
  return sequences < own.sequences ? most(sequences) : own;
}

/** Reports the segments and the memory of each rank. */
async function reportStages(
  { predicted: { peakBytes } }: Fit,
  peers: Peers,
  { from, to, count }: SegmentRange,
  onEvent: OnEvent<PreparationEvent>,
): Promise<void> {
  const peaks = await ofAll(peers, peakBytes);
  const segments = await ofAll(peers, to - from);
  onEvent({
    kind: "stages",
    segments: count,
    stages: peaks.map((bytes, rank) => ({ peakBytes: bytes, segments: segments[rank] })),
  });
}

/** The most that is kept: what was asked for, or as much as is worth its memory. */
function keepBytesOf(
  { memoryBudget, gradCheckpoint, numeric }: FitChoice,
  weightBytes: number,
  { freeBytes }: MemoryThere,
  length: number,
): number {
  return memoryBudget === undefined || gradCheckpoint !== undefined
    ? keepBudget(gradCheckpoint, weightBytes, freeBytes, numeric, length)
    : Number.MAX_SAFE_INTEGER;
}

/** The choice of the resumed run, if that still fits. */
function goOnAsBefore(
  chosen: ChosenMemory,
  { most, predict }: RunLoad,
  budget: MemoryBudget,
  onEvent: OnEvent<PreparationEvent>,
): Fit | undefined {
  if (chosen.sequences > most) return undefined;
  const predicted = predict(chosen.sequences, chosen.keepBytes);
  if (predicted.peakBytes <= budget.bytes) return { fits: true, ...chosen, predicted };
  onEvent({ kind: "less memory" });
  return undefined;
}

/** Whether weights may be made ready for the calls at all. */
function mayBeReady({ train, gradCheckpoint }: FitChoice): boolean {
  return train && !gradCheckpoint;
}

/** Whether they may whatever memory that takes, if it is there. */
function readyAtAnySize({ length }: RunLoad, { numeric }: FitChoice): boolean {
  return numeric === "exact" && length <= LONG_TOKENS;
}

/**
 * Everything as asked, with weights made ready at any size, if that fits: as {@linkcode makeReady} finds it
 * from the same without them, in half the predictions.
 */
function allReady(
  keepBytes: number,
  load: RunLoad,
  config: FitChoice,
  budget: MemoryBudget,
): FittedLoad["fit"] | undefined {
  if (!mayBeReady(config) || !readyAtAnySize(load, config)) return undefined;
  const predicted = load.predict(load.most, keepBytes, true);
  if (predicted.peakBytes > budget.bytes) return undefined;
  return { fits: true, sequences: load.most, keepBytes, predicted, readyWeights: true };
}

/**
 * Makes weights ready for the calls if they still fit: the numbers are the same. In `fast` this saves less
 * time than kept activations do, so it gets the memory that those leave; the same holds for sequences whose
 * every call has thousands of tokens to compute with what it makes of a weight.
 */
function makeReady(
  fit: Fit,
  load: RunLoad,
  config: FitChoice,
  budget: MemoryBudget,
): FittedLoad["fit"] {
  const room = readyAtAnySize(load, config) ? Infinity : fit.keepBytes - fit.predicted.savedBytes;
  if (fit.fits && mayBeReady(config) && room >= 0) {
    for (const readyWeights of config.numeric === "exact" ? [true] : [true, "deep" as const]) {
      const predicted = load.predict(fit.sequences, fit.keepBytes, readyWeights);
      const more = predicted.peakBytes - fit.predicted.peakBytes;
      if (predicted.peakBytes <= budget.bytes && more <= room) {
        return { ...fit, predicted, readyWeights };
      }
    }
  }
  return { ...fit, readyWeights: false };
}

function refusal(
  { sequences, predicted }: { readonly sequences: number; readonly predicted: PredictedMemory },
  { largest, length, predictPart }: RunLoad,
  { bytes, source }: MemoryBudget,
  peers: Peers | undefined,
): RefusedError {
  const where = peers === undefined ? "" : `at rank ${peers.rank} `;
  const advice = whatFits(predictPart, sliceBatch(largest, 0, 1), bytes);
  return new RefusedError((name) =>
    `Cannot train ${where}in ${formatBytes(bytes)} of memory (${worded(source, name)}): ` +
    `${sequences}×${length} tokens take ${megabytes(predicted.peakBytes)} ` +
    `(${madeOf(predicted)}), with as little kept as may be: ${worded(advice, name)}`
  );
}

/** The advice in a refusal. */
function whatFits(predict: Predict, one: TokenBatch, budgetBytes: number): Message {
  let [, length] = one.inputIds.dims;
  let smallest = Infinity;
  while ((length = length >> 1) >= SHORTEST) {
    const { peakBytes } = predict(firstTokens(one, length), 0, false, length);
    if (peakBytes <= budgetBytes) {
      const fitting = length;
      return (name) =>
        `${name("maxSeqLength", fitting)} would fit, in ${formatBytes(peakBytes)} one at a time`;
    }
    smallest = peakBytes;
  }
  return smallest === Infinity
    ? "a smaller model would fit"
    : `even ${SHORTEST} tokens would take ${formatBytes(smallest)}: the model is too large for it`;
}
