/** The blocks of queries that attention goes by. */
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

/** Queries a block of causal attention has at least, where blocks have to be cut out. */
const BLOCK_TOKENS = 64;

/**
 * Queries a block has at least where each looks up the keys that it sees: fewer where more heads share
 * each key that is looked up.
 *
 * @param group query heads of a key head
 */
export function packedBlockTokens(group: number): number {
  return Math.max(28, Math.min(BLOCK_TOKENS, Math.ceil(84 / group)));
}

/** Kernels of products take so many columns at a time. */
const COLUMNS = 16;
const aligned = (keys: number) => Math.round(keys / COLUMNS) * COLUMNS;
/** Blocks that are enough for sequences of ordinary length. */
const MOST_BLOCKS = 8;
/** Queries that a block of a longer one has, so that its scores do not grow with the square of it. */
const LONG_BLOCK_TOKENS = 192;

/** In how many blocks causal attention of so many queries runs: a graph has so many of each node. */
export function blockCount(tokens: Extent, least = BLOCK_TOKENS): number {
  const count = derived(`blocks of ${least} or more`, [tokens], (tokens) => {
    const most = Math.max(MOST_BLOCKS, Math.floor(tokens / LONG_BLOCK_TOKENS));
    return Math.max(1, Math.min(most, Math.floor(tokens / least)));
  });
  return settled(count);
}

/** Queries that each of several blocks has, whatever {@linkcode aligned} makes of them. */
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
 * @param least queries of a block
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

/** The first key that some query sees. */
function firstSeen(query: Extent, { window }: Causal): Extent {
  const first = window === undefined ? 0 : minus(query, window - 1);
  return isAtMost(first, 0) ? 0 : first;
}
