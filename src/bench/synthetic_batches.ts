/** Batches of made-up tokens: speed and memory do not depend on what the tokens are. */
import { int64 } from "../graph/tensor.ts";
import { IGNORED, type TokenBatch } from "../data/targets.ts";
import { Random } from "../random.ts";
import type { BatchSource } from "../train/step.ts";

export interface SyntheticOptions {
  readonly batch: number;
  /** Tokens of every row: none is padded. */
  readonly length: number;
  /** Token ids are drawn below this. */
  readonly vocabulary: number;
  /** Number of classes, for classification; absent for language modelling. */
  readonly classes?: number;
  /** Share of each row, at its end, whose prediction counts in language modelling. */
  readonly targetShare: number;
}

/** The same rows at every position but for their tokens. */
export function syntheticBatches(options: SyntheticOptions): BatchSource<TokenBatch> {
  const { batch, length, vocabulary, classes, targetShare } = options;
  const count = batch * length;
  const first = length - Math.max(1, Math.round(targetShare * length));
  return {
    batches: () => 1,
    batch(epoch) {
      const random = Random.fromSeed(epoch);
      const below = (limit: number) => random.next() % limit;
      const ids = Int32Array.from({ length: count }, () => below(vocabulary));
      const dims = [batch, length];
      return Promise.resolve({
        inputIds: int64(dims, ids),
        attentionMask: int64(dims, new Uint8Array(count).fill(1)),
        tokenCount: count,
        ...(classes === undefined
          ? { labels: ids.map((id, i) => i % length < first ? IGNORED : id) }
          : { classIds: Array.from({ length: batch }, () => below(classes)) }),
      });
    },
  };
}
