/** Order of an epoch's rows, and their division into batches. */
import { randomFor, shuffle } from "./random.ts";
import type { EncodedRows } from "./token_store.ts";

/** How rows are put into batches. */
export interface OrderOptions {
  /** Rows per batch. */
  readonly batchSize: number;
  /**
   * `shuffled`: a new seeded order every epoch, rows of similar length together. `in-order`: as in the
   * file. `by-length`: shortest first, for evaluation with little padding.
   */
  readonly order: "shuffled" | "in-order" | "by-length";
  /** Seed of the order of every epoch. */
  readonly seed: number;
  /** Batches that are sorted by length together: more means less padding and less mixing. */
  readonly poolBatches?: number;
}

const POOL_BATCHES = 50;

/**
 * Row numbers of every batch of an epoch: the same for the same rows, options and epoch. Every row
 * is in exactly one batch; all batches but one are full.
 *
 * Shuffled order cuts a permutation into pools, sorts each by length, cuts it into batches, and
 * shuffles the batches of all pools.
 */
export function batchRows(rows: EncodedRows, epoch: number, options: OrderOptions): Uint32Array[] {
  const { batchSize, order, seed, poolBatches = POOL_BATCHES } = options;
  const indices = Uint32Array.from({ length: rows.count }, (_, i) => i);
  const byLength = (a: number, b: number) => rows.tokenCount(a) - rows.tokenCount(b);
  if (order === "in-order") return cut(indices, batchSize);
  if (order === "by-length") return cut(indices.sort((a, b) => byLength(a, b) || a - b), batchSize);
  const random = randomFor(seed, "row order", epoch);
  shuffle(indices, random);
  const poolSize = poolBatches * batchSize;
  for (let start = 0; start < indices.length; start += poolSize) {
    // Typed arrays sort stably: rows of one length keep their shuffled order.
    indices.subarray(start, start + poolSize).sort(byLength);
  }
  const batches = cut(indices, batchSize);
  const turn = shuffle(Uint32Array.from(batches, (_, i) => i), random);
  return Array.from(turn, (i) => batches[i]);
}

function cut(indices: Uint32Array, size: number): Uint32Array[] {
  const count = Math.ceil(indices.length / size);
  return Array.from({ length: count }, (_, i) => indices.subarray(i * size, (i + 1) * size));
}
