/** The blocks of queries in which attention is computed. */
import {
  areEqual,
  derived,
  isAtMost,
  minus,
  plus,
  settled,
} from "../../graph/extent_arithmetic.ts";
import type { Extent } from "../../graph/size.ts";

/** Query i sees the keys up to i and, with a window, only the last `window` of them. */
export interface Causal {
  /** How many keys a query sees, its own included; absent for all. */
  readonly window?: number;
}

/** A rectangle of the scores: queries `from` to `to`, keys `first` to `last`, ends excluded. */
export interface Block {
  readonly from: Extent;
  readonly to: Extent;
  readonly first: Extent;
  readonly last: Extent;
}

/** Least number of queries in a block of causal attention, if blocks have to be cut out. */
const BLOCK_TOKENS = 64;

/**
 * Least number of queries in a block whose queries each look up the keys that they see: fewer if more heads
 * share each key that is looked up.
 *
 * @param group query heads per key head
 */
export function packedBlockTokens(group: number): number {
  return Math.max(28, Math.min(BLOCK_TOKENS, Math.ceil(84 / group)));
}

/** Kernels of products take this many columns at a time. */
const COLUMNS = 16;
const aligned = (keys: number) => Math.round(keys / COLUMNS) * COLUMNS;
/** Blocks that are enough for sequences of ordinary length. */
const MOST_BLOCKS = 8;
/** Queries per block of a longer sequence, so that its scores do not grow with the square of its length. */
const LONG_BLOCK_TOKENS = 192;

/**
 * Number of blocks in which causal attention of `tokens` queries runs: a graph repeats its nodes for each.
 */
export function blockCount(tokens: Extent, least = BLOCK_TOKENS): number {
  const count = derived(`blocks of ${least} or more`, [tokens], (tokens) => {
    const most = Math.max(MOST_BLOCKS, Math.floor(tokens / LONG_BLOCK_TOKENS));
    return Math.max(1, Math.min(most, Math.floor(tokens / least)));
  });
  return settled(count);
}

/** Queries that each of several blocks has at least, however {@linkcode aligned} moves their ends. */
const FEWEST = 2;

/** Where blocks of the queries from `offset` on begin and end. */
function bordersOf(tokens: Extent, offset: Extent, keys: Extent, count: number): readonly Extent[] {
  const borders = new Array<Extent>(count + 1);
  [borders[0], borders[count]] = [offset, keys];
  for (let block = count - 1; block > 0; block--) {
    borders[block] = derived(
      `end ${block} of ${count} blocks`,
      [offset, tokens],
      (offset, tokens) => aligned(offset + block * tokens / count),
      [plus(offset, FEWEST), minus(borders[block + 1], FEWEST)],
    );
  }
  return borders;
}

/**
 * Blocks of the queries from `offset` on, each with the keys that its queries can see.
 *
 * @param least least number of queries in a block
 */
export function blocksOf(
  tokens: Extent,
  offset: Extent,
  keys: Extent,
  causal: Causal | undefined,
  least = BLOCK_TOKENS,
): readonly Block[] {
  const whole = { from: offset, to: plus(offset, tokens), first: 0, last: keys };
  if (causal === undefined || !areEqual(whole.to, keys)) return [whole];
  const count = blockCount(tokens, least);
  if (count === 1) return [whole];
  const borders = bordersOf(tokens, offset, keys, count);
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [borders[i], borders[i + 1]];
    return { from, to, first: firstSeen(from, causal), last: to };
  });
}

/** The first key that a query sees. */
function firstSeen(query: Extent, { window }: Causal): Extent {
  const first = window === undefined ? 0 : minus(query, window - 1);
  return isAtMost(first, 0) ? 0 : first;
}
