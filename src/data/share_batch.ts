/** Divides a batch into shards, whose sequences are computed on one thread each. */
import { type Tensor, toNumbers } from "../graph/tensor.ts";
import { commonLength, type TokenKeys, tokenKeys } from "./prefixes.ts";
import { cutTokens } from "./slice_batch.ts";
import type { TokenBatch } from "./targets.ts";

/**
 * Largest share of the threads' time that may be lost by waiting; beyond it a batch runs faster
 * undivided.
 */
const WAITED = 0.15;

/**
 * Divides a batch into shards with about equal numbers of sequences and of tokens to compute, in the
 * order of the batch; the padding stays, for few shapes.
 *
 * @param shares number of shards, at least 1
 * @param sharesPrefixes whether a shard computes common beginnings of its sequences once
 * @returns the batch itself if it has too few sequences for shards of about equal size
 */
export function shareBatch(
  batch: TokenBatch,
  shares: number,
  sharesPrefixes = false,
): TokenBatch[] {
  const [sequences] = batch.inputIds.dims;
  if (shares <= 1 || sequences < shares) return [batch];
  const tokens = tokenCounts(batch.attentionMask);
  const shared = new SharedTokens(sharesPrefixes ? tokenKeys(batch) : []);
  const parts = divide(tokens, shares, shared);
  const longest = Math.max(...parts.map(({ sum }) => sum));
  const whole = computedOf([...tokens.keys()], tokens, shared);
  if (whole < (1 - WAITED) * shares * longest) return [batch];
  return parts.map(({ rows }) =>
    pickRows(batch, rows, rows.reduce((sum, row) => sum + tokens[row], 0))
  );
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
  /** Tokens to compute. */
  sum: number;
}

/** Relative excess of the largest shard above which sequences are exchanged. */
const UNEVEN = 0.01;
/** Largest batch whose sequences are compared pair by pair for that: larger ones divide evenly without. */
const FEW_SEQUENCES = 32;

/**
 * Assigns the longest sequences first, each to the shard that has the least work with it and is not full;
 * then exchanges sequences.
 */
function divide(tokens: readonly number[], shares: number, shared: SharedTokens): Part[] {
  const parts = Array.from({ length: shares }, (): Part => ({ rows: [], sum: 0 }));
  const [least, left] = [Math.floor(tokens.length / shares), tokens.length % shares];
  const room = parts.map((_, p) => least + (p < left ? 1 : 0));
  const longestFirst = tokens.map((_, row) => row).sort((a, b) => tokens[b] - tokens[a] || a - b);
  for (const row of longestFirst) {
    const sums = parts.map(({ rows, sum }) => sum + tokens[row] - shared.most(row, rows));
    let best: number | undefined;
    parts.forEach(({ rows }, p) => {
      if (rows.length < room[p] && (best === undefined || sums[p] < sums[best])) best = p;
    });
    parts[best!].rows.push(row);
    parts[best!].sum = sums[best!];
  }
  while (tokens.length <= FEW_SEQUENCES && evenOut(parts, tokens, shared));
  for (const { rows } of parts) rows.sort((a, b) => a - b);
  return parts;
}

/**
 * Exchanges two sequences, one of them from the largest shard, so that the larger of the two shards
 * becomes as small as possible.
 *
 * @returns whether that made it smaller
 */
function evenOut(parts: readonly Part[], tokens: readonly number[], shared: SharedTokens): boolean {
  const largest = parts.reduce((a, b) => b.sum > a.sum ? b : a);
  const mean = parts.reduce((sum, part) => sum + part.sum, 0) / parts.length;
  if (largest.sum <= (1 + UNEVEN) * mean) return false;
  const partOf = (rows: readonly number[]): Part => ({
    rows: [...rows],
    sum: computedOf(rows, tokens, shared),
  });
  let least = largest.sum;
  let exchanged: readonly (readonly [Part, Part])[] = [];
  for (const other of parts) {
    if (other === largest) continue;
    for (const row of largest.rows) {
      for (const its of other.rows) {
        const mine = partOf(largest.rows.map((r) => r === row ? its : r));
        const theirs = partOf(other.rows.map((r) => r === its ? row : r));
        const most = Math.max(mine.sum, theirs.sum);
        if (most >= least) continue;
        least = most;
        exchanged = [[largest, mine], [other, theirs]];
      }
    }
  }
  for (const [part, { rows, sum }] of exchanged) {
    part.rows.splice(0, Infinity, ...rows);
    part.sum = sum;
  }
  return exchanged.length > 0;
}

/** Tokens that sequences have to compute together. */
function computedOf(
  rows: readonly number[],
  tokens: readonly number[],
  shared: SharedTokens,
): number {
  return rows.reduce((sum, row, i) => sum + tokens[row] - shared.most(row, rows.slice(0, i)), 0);
}

/** Numbers of common first tokens for each pair of a batch's sequences. */
class SharedTokens {
  readonly #keys: readonly TokenKeys[];
  readonly #common = new Map<number, number>();

  /** @param keys those of each sequence; empty: no two sequences have tokens in common */
  constructor(keys: readonly TokenKeys[]) {
    this.#keys = keys;
  }

  /** Most tokens that a sequence shares with any of the others. */
  most(row: number, others: readonly number[]): number {
    return others.reduce((most, other) => Math.max(most, this.#of(row, other)), 0);
  }

  #of(a: number, b: number): number {
    const keys = this.#keys;
    if (keys.length === 0) return 0;
    const pair = Math.min(a, b) * keys.length + Math.max(a, b);
    let found = this.#common.get(pair);
    if (found === undefined) this.#common.set(pair, found = commonLength(keys[a], keys[b]));
    return found;
  }
}

/** Selects sequences of a batch, with their number of real tokens. */
function pickRows(batch: TokenBatch, rows: readonly number[], tokenCount: number): TokenBatch {
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
