/** One optimiser step: micro-batches, the gradient's norm, clipping, the update. */
import type { Optimizer } from "./optimizer.ts";
import type { Peers } from "./peers.ts";
import type { Random } from "../random.ts";
import type { DataPosition } from "./state.ts";
import type { Batch, BatchSource, SeededBatch, StepModel } from "./step.ts";

/** The micro-batches of one step. */
export interface StepBatches<B extends Batch> {
  readonly data: BatchSource<B>;
  readonly position: DataPosition;
  /** The most micro-batches of a step; the last step of an epoch takes what is left of it. */
  readonly count: number;
  /** Whether this is the last step. */
  readonly isLast: boolean;
}

/** Sums over the micro-batches of one step. */
export interface Accumulated {
  readonly lossSum: number;
  readonly targetCount: number;
  readonly tokens: number;
  /** The next micro-batch. */
  readonly next: DataPosition;
}

/** The position after `position`. */
function advance(position: DataPosition, batches: number): DataPosition {
  return position.batchIndex + 1 < batches
    ? { epoch: position.epoch, batchIndex: position.batchIndex + 1 }
    : { epoch: position.epoch + 1, batchIndex: 0 };
}

/**
 * Accumulates the gradients of a step's micro-batches, and sums them over all processes.
 *
 * @returns `undefined` if the signal fired: the gradients so far are then of no use
 */
export async function accumulate<B extends Batch>(
  model: StepModel<B>,
  { data, position, count, isLast }: StepBatches<B>,
  random: Random,
  signal: AbortSignal | undefined,
  peers?: Peers,
): Promise<Accumulated | undefined> {
  model.zeroGrad();
  let [lossSum, targetCount, tokens] = [0, 0, 0];
  const batchAt = ({ epoch, batchIndex }: DataPosition) => data.batch(epoch, batchIndex);
  const sums = peers?.gradientSums(model.parameters);
  /** The batches, where the model takes all at once. */
  const all: SeededBatch<B>[] = [];
  let at = position;
  for (let i = 0; i < count && at.epoch === position.epoch; i++) {
    if (signal?.aborted) return undefined;
    const batch = await batchAt(at);
    const next = advance(at, data.batches(at.epoch));
    const isLastBatch = i + 1 === count || next.epoch !== position.epoch;
    const ends = isLast && isLastBatch;
    // One of several processes may have no row of an epoch's last batch.
    const mayBeEmpty = peers !== undefined && next.batchIndex + 1 === data.batches(next.epoch);
    const upcoming = ends || mayBeEmpty ? undefined : () => batchAt(next);
    const seed = random.next();
    at = next;
    if (batch.tokenCount === 0) continue;
    const onGradient = isLastBatch ? sums?.onGradient : undefined;
    const dropoutSeed = ofShare(seed, peers?.share.index ?? 0);
    tokens += batch.tokenCount;
    if (model.accumulateAll) {
      all.push({ batch, dropoutSeed });
      continue;
    }
    const loss = await model.accumulate(batch, dropoutSeed, { upcoming, onGradient });
    lossSum += loss.lossSum;
    targetCount += loss.targetCount;
  }
  if (model.accumulateAll) ({ lossSum, targetCount } = await model.accumulateAll(all));
  if (peers !== undefined) {
    model.fillGrad?.();
    await sums!.end();
    [lossSum, targetCount, tokens] = await peers.sum([lossSum, targetCount, tokens]);
    // All stages of a pipeline have counted the same; only the last one knows losses and targets.
    tokens /= peers.pipeline?.stages ?? 1;
    if (signal?.aborted) return undefined;
  }
  return { lossSum, targetCount, tokens, next: at };
}

/** Other rows drop other elements: an odd multiple distinguishes their seeds. */
const ofShare = (seed: number, index: number) => (seed ^ Math.imul(index, 0x9e3779b1)) >>> 0;

/**
 * Mean loss above which a gradient of exactly zero does not mean a perfect fit. Parameters that exploded can
 * end like this instead of in NaN: a normalisation divides by their infinite square and leaves zeros.
 */
const MIN_LOSS = 1e-3;

/** The outcome of a step. */
export type StepResult =
  | { readonly taken: true; readonly gradNorm: number }
  | { readonly taken: false; readonly reason: string; readonly badNumbers: boolean };

/**
 * Updates the parameters with the gradient of the mean loss over the step's target tokens, clipped to the
 * norm `maxGradNorm` (0: not clipped). Changes nothing if a number is not finite.
 *
 * Clipping is PyTorch's `clip_grad_norm_`: times `max / (norm + 1e-6)` if that is below 1.
 */
export async function applyStep(
  optimizer: Optimizer,
  { lossSum, targetCount }: Accumulated,
  learningRate: number,
  maxGradNorm: number,
): Promise<StepResult> {
  if (targetCount === 0) {
    return { taken: false, reason: "its batches have no target token", badNumbers: false };
  }
  if (!Number.isFinite(lossSum)) {
    return { taken: false, reason: `its loss is ${lossSum}`, badNumbers: true };
  }
  const gradNorm = await optimizer.gradientNorm() / targetCount;
  if (!Number.isFinite(gradNorm)) {
    return { taken: false, reason: `the norm of its gradient is ${gradNorm}`, badNumbers: true };
  }
  if (gradNorm === 0 && lossSum > MIN_LOSS * targetCount) {
    const reason = "its gradient is zero although its loss is not: the parameters are too large";
    return { taken: false, reason, badNumbers: true };
  }
  const clip = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (gradNorm + 1e-6)) : 1;
  await optimizer.update(learningRate, clip / targetCount);
  return { taken: true, gradNorm };
}
