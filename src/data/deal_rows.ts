/** Deals the rows of each batch to the processes that train together. */
import type { EncodedRows } from "./token_store.ts";

/** Which of several processes this is. */
export interface Part {
  /** From 0. */
  readonly index: number;
  /** Number of processes. */
  readonly of: number;
}

/**
 * The rows of a batch that a process computes: longest first they are dealt back and forth, so that all
 * get about as many rows and tokens. Their order stays.
 *
 * @returns none for some processes if there are fewer rows than processes
 */
export function dealRows(
  chosen: Uint32Array,
  rows: Pick<EncodedRows, "tokenCount">,
  { index, of }: Part,
): Uint32Array {
  const longestFirst = Array.from(chosen.keys())
    .sort((a, b) => rows.tokenCount(chosen[b]) - rows.tokenCount(chosen[a]) || a - b);
  const own = longestFirst.filter((_, place) => {
    const round = Math.floor(place / of);
    const at = place % of;
    return (round % 2 === 0 ? at : of - 1 - at) === index;
  });
  return Uint32Array.from(own.sort((a, b) => a - b), (at) => chosen[at]);
}
