/** Rules for the sequences of a batch that a model runs together. */
import { cutBatch, firstTokens } from "./slice_batch.ts";
import type { TokenBatch } from "./targets.ts";

/** Divides a batch into the batches that run, in order. */
export type RowCut = (batch: TokenBatch) => readonly TokenBatch[];

export const together: RowCut = (batch) => [batch];

/** One sequence after the other, with their padding: for a model that accepts only one at a time. */
export const singly: RowCut = (batch) => cutBatch(batch, 1);

/** One sequence after the other, without padding: for a model whose results depend on it. */
export const withoutPadding: RowCut = (batch) =>
  cutBatch(batch, 1).map((row) => firstTokens(row, Math.max(1, row.tokenCount)));
