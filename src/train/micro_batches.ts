/** Batches taken a few sequences at a time, for less memory. */
import { sliceBatch } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import type { BatchLoss, Evaluation, Parameter, StepModel } from "./step.ts";

/**
 * The model with every batch cut into parts of at most `sequences` sequences. Losses and gradients are
 * sums over target tokens, so that the parts' sums are the batch's.
 */
export class MicroBatches implements StepModel<TokenBatch> {
  /** @param sequences at least 1 */
  constructor(readonly model: StepModel<TokenBatch>, readonly sequences: number) {}

  get parameters(): readonly Parameter[] {
    return this.model.parameters;
  }

  async accumulate(batch: TokenBatch, dropoutSeed: number): Promise<BatchLoss> {
    let [lossSum, targetCount] = [0, 0];
    for (const [i, part] of this.#parts(batch).entries()) {
      const loss = await this.model.accumulate(part, (dropoutSeed + i) >>> 0);
      lossSum += loss.lossSum;
      targetCount += loss.targetCount;
    }
    return { lossSum, targetCount };
  }

  async evaluate(batch: TokenBatch): Promise<Evaluation> {
    let [lossSum, targetCount] = [0, 0];
    let correct: number | undefined = 0;
    for (const part of this.#parts(batch)) {
      const found = await this.model.evaluate(part);
      lossSum += found.lossSum;
      targetCount += found.targetCount;
      correct = found.correct === undefined || correct === undefined
        ? undefined
        : correct + found.correct;
    }
    return correct === undefined ? { lossSum, targetCount } : { lossSum, targetCount, correct };
  }

  widen(): boolean {
    return this.model.widen?.() ?? false;
  }

  zeroGrad(): void {
    this.model.zeroGrad();
  }

  [Symbol.dispose](): void {
    this.model[Symbol.dispose]();
  }

  #parts(batch: TokenBatch): TokenBatch[] {
    const [count] = batch.inputIds.dims;
    const parts: TokenBatch[] = [];
    for (let start = 0; start < count; start += this.sequences) {
      parts.push(sliceBatch(batch, start, start + this.sequences));
    }
    return parts;
  }
}
