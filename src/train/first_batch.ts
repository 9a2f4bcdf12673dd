/** The batch by which a run is checked before its first step. */
import { UsageError } from "../errors.ts";
import type { Batch, BatchSource } from "./step.ts";

/**
 * The first batch of epoch 0 with a row in it: one of several processes may have none of a short batch.
 *
 * @throws {UsageError} if there is none
 */
export async function firstBatch<B extends Batch>(source: BatchSource<B>): Promise<B> {
  for (let i = 0; i < source.batches(0); i++) {
    const batch = await source.batch(0, i);
    if (batch.tokenCount > 0) return batch;
  }
  throw new UsageError("There are more ranks than rows to train on: start fewer ranks");
}
