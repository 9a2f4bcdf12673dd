/** A batch divided among threads, each of which computes its sequences alone. */
import { type Tensor, toNumbers } from "../graph/tensor.ts";
import { cutTokens } from "./slice_batch.ts";
import type { TokenBatch } from "./targets.ts";

/** Share of the threads' time that may be waited away before one after the other is the quicker way. */
const WAITED = 0.15;

/**
 * Divides a batch into parts of about as many sequences and real tokens each, in the order of the
 * batch; the padding stays, so that few shapes come of it.
 *
 * @param shares parts that are wanted, at least 1
 * @returns the batch alone where it has too few sequences for parts of about one size
 */
export function shareBatch(batch: TokenBatch, shares: number): TokenBatch[] {
  const [sequences] = batch.inputIds.dims;
  if (shares <= 1 || sequences < shares) return [batch];
  const tokens = tokenCounts(batch.attentionMask);
  const parts = divide(tokens, shares);
  const longest = Math.max(...parts.map(({ sum }) => sum));
  const whole = tokens.reduce((sum, count) => sum + count, 0);
  if (whole < (1 - WAITED) * shares * longest) return [batch];
  return parts.map((part) => pickRows(batch, part));
}

/** Real tokens of each sequence. */
function tokenCounts(mask: Tensor): number[] {
  const [sequences, length] = mask.dims;
  const values = toNumbers(mask);
  return Array.from({ length: sequences }, (_, s) => {
    let count = 0;
    for (let t = 0; t < length; t++) count += Number(values[s * length + t]);
    return count;
  });
}

interface Part {
  readonly rows: number[];
  sum: number;
}

/** The longest first, each to the part that has least and is not full. */
function divide(tokens: readonly number[], shares: number): Part[] {
  const parts = Array.from({ length: shares }, (): Part => ({ rows: [], sum: 0 }));
  const [least, left] = [Math.floor(tokens.length / shares), tokens.length % shares];
  const room = parts.map((_, p) => least + (p < left ? 1 : 0));
  const longestFirst = tokens.map((_, row) => row).sort((a, b) => tokens[b] - tokens[a] || a - b);
  for (const row of longestFirst) {
    let best: number | undefined;
    parts.forEach(({ rows, sum }, p) => {
      if (rows.length < room[p] && (best === undefined || sum < parts[best].sum)) best = p;
    });
    parts[best!].rows.push(row);
    parts[best!].sum += tokens[row];
  }
  for (const { rows } of parts) rows.sort((a, b) => a - b);
  return parts;
}

/** Some sequences of a batch, with so many real tokens. */
function pickRows(batch: TokenBatch, { rows, sum: tokenCount }: Part): TokenBatch {
  const [, length] = batch.inputIds.dims;
  const pick = (value: Tensor) => cutTokens(value, rows, length);
  const { tokenTypeIds, labels, classIds } = batch;
  return {
    inputIds: pick(batch.inputIds),
    attentionMask: pick(batch.attentionMask),
    ...(tokenTypeIds && { tokenTypeIds: pick(tokenTypeIds) }),
    ...(labels && {
      labels: rows.flatMap((row) => Array.from({ length }, (_, t) => labels[row * length + t])),
    }),
    ...(classIds && { classIds: rows.map((row) => classIds[row]) }),
    tokenCount,
  };
}
