/** The blocks of queries that attention goes by. */

/** Query i sees the keys up to i and, with a window, only the last `window` of them. */
export interface Causal {
  /** How many keys a query sees, its own included; absent for all. */
  readonly window?: number;
}

/** A rectangle of the scores: queries `from` to `to`, keys `first` to `last`, ends excluded. */
export interface Block {
  readonly from: number;
  readonly to: number;
  readonly first: number;
  readonly last: number;
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

/** In how many blocks causal attention of so many queries runs. */
export function blockCount(tokens: number, least = BLOCK_TOKENS): number {
  const most = Math.max(MOST_BLOCKS, Math.floor(tokens / LONG_BLOCK_TOKENS));
  return Math.max(1, Math.min(most, Math.floor(tokens / least)));
}

/**
 * Blocks of the queries from `offset` on, each with the keys that its queries can see.
 *
 * @param least queries of a block
 */
export function blocksOf(
  tokens: number,
  offset: number,
  keys: number,
  causal: Causal | undefined,
  least = BLOCK_TOKENS,
): readonly Block[] {
  const whole = { from: offset, to: offset + tokens, first: 0, last: keys };
  if (causal === undefined || offset + tokens !== keys) return [whole];
  const count = blockCount(tokens, least);
  if (count === 1) return [whole];
  const end = (block: number) =>
    block === 0 ? offset : block === count ? keys : aligned(offset + block * tokens / count);
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [end(i), end(i + 1)];
    const first = causal.window === undefined ? 0 : Math.max(0, from - causal.window + 1);
    return { from, to, first, last: to };
  });
}
