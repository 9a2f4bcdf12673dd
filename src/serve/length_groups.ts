/** Splits a batch of texts of many lengths into runs of texts of similar length, to avoid padding. */
import type { TokenBatch } from "../data/targets.ts";
import { cutTokens } from "../data/slice_batch.ts";
import { type Tensor, toNumbers } from "../graph/tensor.ts";

/** Fixed cost of a run, in tokens: about a millisecond of small kernels for MiniLM. */
const TOKENS_PER_RUN = 32;

/** Sequences of a batch that are run together. */
export interface LengthGroup {
  /** Their indices in the whole batch. */
  readonly rows: readonly number[];
  /** Cut after the last real token of the longest sequence. */
  readonly batch: TokenBatch;
}

/**
 * Splits a batch so that its runs have the least cost, in tokens with padding and a constant per run.
 * Only token ids, mask and types are kept.
 */
export function lengthGroups(batch: TokenBatch): LengthGroup[] {
  const lengths = realLengths(batch);
  const order = lengths.map((_, row) => row).sort((a, c) => lengths[a] - lengths[c]);
  // For the shortest n sequences: the least cost, and the beginning of their last group.
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

/** The length of each sequence up to its last real token; at least 1, because a run needs a token. */
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
