/** Loss and accuracy over validation data. */
import { spreadBatches, spreadCount } from "./spread_batches.ts";
import type { Batch, BatchLoss, BatchSource, StepModel } from "./step.ts";

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
): Promise<Metrics | undefined> {
  const parts: BatchLoss[] = [];
  let [lossSum, targetCount, correct] = [0, 0, 0];
  let counted = spreadCount(data, limit) > 0;
  for await (const batch of spreadBatches(data, limit)) {
    if (signal?.aborted) return undefined;
    const result = await model.evaluate(batch);
    parts.push({ lossSum: result.lossSum, targetCount: result.targetCount });
    lossSum += result.lossSum;
    targetCount += result.targetCount;
    if (result.correct === undefined) counted = false;
    else correct += result.correct;
  }
  if (targetCount === 0) throw new RangeError("Cannot evaluate: the data has no target token");
  const loss = lossSum / targetCount;
  const found = { loss, targetCount, parts };
  return counted ? { ...found, accuracy: correct / targetCount } : found;
}
