/** Padding wasted nowhere: a batch of texts of many lengths as several runs of texts about alike. */
import type { TokenBatch } from "../data/targets.ts";
import { cutTokens } from "../data/slice_batch.ts";
import { type Tensor, toNumbers } from "../graph/tensor.ts";

/** What a run costs beside its tokens, in tokens: about a millisecond of small kernels for MiniLM. */
const TOKENS_PER_RUN = 32;

/** Sequences of a batch that are run together. */
export interface LengthGroup {
  /** Their places in the whole batch. */
  readonly rows: readonly number[];
  /** Cut behind the last real token of the longest. */
  readonly batch: TokenBatch;
}

/**
 * Splits a batch so that its runs cost least, paid for in tokens, padding and a constant for each
 * run. Only token ids, mask and types are taken over.
 */
export function lengthGroups(batch: TokenBatch): LengthGroup[] {
  const lengths = realLengths(batch);
  const order = lengths.map((_, row) => row).sort((a, c) => lengths[a] - lengths[c]);
  // Of the shortest n sequences: the least cost, and where their last group begins.
  const costs = [0];
  const begins = [0];
  for (let n = 1; n <= order.length; n++) {
    costs[n] = Infinity;
    for (let begin = n - 1; begin >= 0; begin--) {
      const cost = costs[begin] + TOKENS_PER_RUN + (n - begin) * lengths[order[n - 1]];
      if (cost < costs[n]) [costs[n], begins[n]] = [cost, begin];
    }
  }
  const groups: LengthGroup[] = [];
  for (let end = order.length; end > 0; end = begins[end]) {
    const rows = order.slice(begins[end], end).sort((a, c) => a - c);
    groups.push({ rows, batch: cut(batch, rows, lengths[order[end - 1]], lengths) });
  }
  return groups;
}

/** For each sequence the place behind its last real token; at least 1, since a run needs a token. */
function realLengths({ attentionMask }: TokenBatch): number[] {
  const [sequences, length] = attentionMask.dims;
  const mask = toNumbers(attentionMask);
  return Array.from({ length: sequences }, (_, row) => {
    let end = length;
    while (end > 1 && mask[row * length + end - 1] === 0) end--;
    return end;
  });
}

function cut(
  batch: TokenBatch,
  rows: readonly number[],
  length: number,
  lengths: readonly number[],
): TokenBatch {
  const columns = batch.inputIds.dims[1];
  if (rows.length === batch.inputIds.dims[0] && length === columns) return batch;
  const part = (value: Tensor) => cutTokens(value, rows, length);
  return {
    inputIds: part(batch.inputIds),
    attentionMask: part(batch.attentionMask),
    ...(batch.tokenTypeIds === undefined ? {} : { tokenTypeIds: part(batch.tokenTypeIds) }),
    tokenCount: rows.reduce((sum, row) => sum + lengths[row], 0),
  };
}
