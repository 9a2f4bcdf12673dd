/** Which sequences of a batch a model runs together. */
import { cutBatch, firstTokens } from "./slice_batch.ts";
import type { TokenBatch } from "./targets.ts";

/** A batch as the batches that run, in its order. */
export type RowCut = (batch: TokenBatch) => readonly TokenBatch[];

export const together: RowCut = (batch) => [batch];

/** One sequence after the other, padded as they are: for a model that takes no more at once. */
export const singly: RowCut = (batch) => cutBatch(batch, 1);

/** One sequence after the other, without padding: for a model that computes something else with it. */
export const withoutPadding: RowCut = (batch) =>
  cutBatch(batch, 1).map((row) => firstTokens(row, Math.max(1, row.tokenCount)));

/** The batches that some batches run as. */
export async function* cutAll(
  batches: AsyncIterable<TokenBatch> | Iterable<TokenBatch>,
  cut: RowCut,
): AsyncGenerator<TokenBatch> {
  for await (const batch of batches) yield* cut(batch);
}
