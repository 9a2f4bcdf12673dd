/** The batches by which a run is checked before its first step. */
import { UsageError } from "../errors.ts";
import type { TokenBatch } from "../data/targets.ts";
import type { BatchSource } from "./step.ts";

/**
 * The first batch of epoch 0 with a row in it: one of several processes may have none of a short batch.
 *
 * @throws {UsageError} if there is none
 */
export async function firstBatch(source: BatchSource<TokenBatch>): Promise<TokenBatch> {
  return (await firstBatches(source, 1))[0];
}

/**
 * The first batches of epoch 0 with rows in them, one at least and as many as have `sequences` rows together.
 *
 * @throws {UsageError} if there is none
 */
export async function firstBatches(
  source: BatchSource<TokenBatch>,
  sequences: number,
): Promise<readonly [TokenBatch, ...TokenBatch[]]> {
  const found: TokenBatch[] = [];
  let missing = sequences;
  for (let i = 0; i < source.batches(0) && missing > 0; i++) {
    const batch = await source.batch(0, i);
    if (batch.tokenCount === 0) continue;
    found.push(batch);
    missing -= batch.inputIds.dims[0];
  }
  const [first, ...others] = found;
  if (first !== undefined) return [first, ...others];
  throw new UsageError("There are more ranks than rows to train on: start fewer ranks");
}
