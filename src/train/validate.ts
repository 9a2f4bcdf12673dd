/** Loss and accuracy over validation data. */
import type { Peers } from "./peers.ts";
import { spreadBatches } from "./spread_batches.ts";
import type { Batch, BatchLoss, BatchSource, Evaluation, StepModel } from "./step.ts";

/** Means over all target tokens. */
export interface Metrics {
  readonly loss: number;
  /** Absent if the task has no right answers to count. */
  readonly accuracy?: number;
  readonly targetCount: number;
  /** What the evaluation of each batch found, in their order. */
  readonly parts: readonly BatchLoss[];
}

/**
 * Evaluates the model on batches of a source, as {@linkcode spreadBatches} gives them.
 *
 * @param limit number of batches; negative for all
 * @returns `undefined` if the signal fired before the end
 * @throws {RangeError} if the data has no target token
 */
export async function validate<B extends Batch>(
  model: StepModel<B>,
  data: BatchSource<B>,
  limit = -1,
  signal?: AbortSignal,
  peers?: Peers,
): Promise<Metrics | undefined> {
  const own: Evaluation[] = [];
  for await (const batch of spreadBatches(data, limit)) {
    if (signal?.aborted) return undefined;
    own.push(batch.tokenCount === 0 ? NOTHING : await model.evaluate(batch));
  }
  const found = peers === undefined ? own : await sumsOf(own, peers);
  if (signal?.aborted) return undefined;
  const sum = (of: (part: Evaluation) => number) => found.reduce((all, part) => all + of(part), 0);
  const counted = found.length > 0 && found.every(({ correct }) => correct !== undefined);
  const parts = found.map(({ lossSum, targetCount }) => ({ lossSum, targetCount }));
  const [lossSum, targetCount] = [sum((part) => part.lossSum), sum((part) => part.targetCount)];
  if (targetCount === 0) throw new RangeError("Cannot evaluate: the data has no target token");
  const loss = lossSum / targetCount;
  const metrics = { loss, targetCount, parts };
  if (!counted) return metrics;
  return { ...metrics, accuracy: sum(({ correct }) => correct!) / targetCount };
}

/** What a process finds that has no row of a batch. */
const NOTHING: Evaluation = { lossSum: 0, targetCount: 0, correct: 0 };

/** Sums of each batch's results over all processes. */
async function sumsOf(
  own: readonly Evaluation[],
  peers: Peers,
): Promise<readonly Evaluation[]> {
  const sums = await peers.sum(own.flatMap(({ lossSum, targetCount, correct }) => // One process without a count means that there is none.
  [lossSum, targetCount, correct ?? NaN]));
  return own.map((_, i) => {
    const [lossSum, targetCount, correct] = sums.slice(3 * i, 3 * i + 3);
    return Number.isNaN(correct) ? { lossSum, targetCount } : { lossSum, targetCount, correct };
  });
}
