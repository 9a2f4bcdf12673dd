/** The batch that a step needs most memory for. */
import type { Batch, Batches } from "./batches.ts";
import { bucketFor } from "./buckets.ts";

/** What a padded place takes beside a token: its part in attention's scores. */
const PADDING = 0.05;

/** Batch shapes of a data set's first epoch. */
export interface BatchShapes {
  /** The batch of the most tokens at once, where padding, which attention alone computes, counts little. */
  readonly largest: Batch;
  /**
   * Different shapes, about: batches differ in the length they are padded to, and in how many tokens
   * and targets they have, of which steps of an eighth are told apart.
   */
  readonly shapes: number;
}

/** Batches of the most tokens that are looked into for how many of them are computed. */
const LOOKED_INTO = 8;

/** How much of a batch runs at once. */
export interface ShapeRules {
  /** How many of a batch's sequences, of so many computed tokens each. */
  readonly atOnce: (sequences: number, each: number) => number;
  /**
   * What a place of a sequence of such a length takes at least, in tokens; default 1: padding is computed
   * like any token.
   */
  readonly placeTakes?: (length: number) => number;
  /** How many of a batch's tokens are computed, where that is not all. */
  readonly computed?: (batch: Batch) => number;
}

/** Looks at the lengths of all rows; the tokens of few batches are read. */
export async function batchShapes(
  batches: Batches,
  { atOnce, placeTakes = () => 1, computed }: ShapeRules,
): Promise<BatchShapes> {
  const { rows, options } = batches;
  const shapes = new Set<string>();
  const sizes: { readonly i: number; readonly size: number }[] = [];
  batches.rowsOf(0).forEach((chosen, i) => {
    const counts = Array.from(chosen, (row) => rows.tokenCount(row));
    const length = bucketFor(options.buckets, Math.max(1, ...counts));
    const tokens = counts.reduce((sum, count) => sum + count, 0);
    shapes.add(`${chosen.length}×${length}, ${Math.ceil(8 * Math.log2(Math.max(1, tokens)))}`);
    const each = Math.max(tokens / chosen.length, placeTakes(length) * length);
    const share = atOnce(chosen.length, each) / chosen.length;
    sizes.push({ i, size: share * (tokens + PADDING * (chosen.length * length - tokens)) });
  });
  sizes.sort((a, b) => b.size - a.size || a.i - b.i);
  let largest = await batches.batch(0, sizes[0]?.i ?? 0);
  if (computed !== undefined) {
    let most = computed(largest);
    for (const { i } of sizes.slice(1, LOOKED_INTO)) {
      const batch = await batches.batch(0, i);
      const tokens = computed(batch);
      if (tokens > most) [most, largest] = [tokens, batch];
    }
  }
  return { largest, shapes: shapes.size };
}
