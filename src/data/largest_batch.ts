/** The batch that a step needs most memory for. */
import type { Batch, Batches } from "./batches.ts";
import { bucketFor } from "./buckets.ts";

/** What a padded position takes beside a token: its part in attention's scores. */
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
  /** A batch of each, or of {@linkcode MOST_SAMPLES} that are spread over them. */
  readonly samples: readonly Batch[];
}

/** Batches that are read to see their shapes. */
const MOST_SAMPLES = 48;

/** Batches of the most tokens that are looked into for how many of them are computed. */
const LOOKED_INTO = 8;

/** How much of a batch runs at once. */
export interface ShapeRules {
  /** How many of a batch's sequences, of so many computed tokens each. */
  readonly atOnce: (sequences: number, each: number) => number;
  /**
   * What a position of a sequence of such a length takes at least, in tokens; default 1: padding is computed
   * like any token.
   */
  readonly positionCost?: (length: number) => number;
  /** Batches that are run, the first of the epoch: others' shapes do not count; default all. */
  readonly most?: number;
  /** How many of a batch's tokens are computed, where that is not all. */
  readonly computed?: (batch: Batch) => number;
}

/** Looks at the lengths of all rows; the tokens of few batches are read. */
export async function batchShapes(
  batches: Batches,
  { atOnce, positionCost = () => 1, computed, most = Infinity }: ShapeRules,
): Promise<BatchShapes> {
  const { rows, options } = batches;
  /** By shape: its first batch. */
  const shapes = new Map<string, number>();
  const sizes: { readonly i: number; readonly size: number }[] = [];
  batches.rowsOf(0).forEach((chosen, i) => {
    const counts = Array.from(chosen, (row) => rows.tokenCount(row));
    const length = bucketFor(options.buckets, Math.max(1, ...counts));
    const tokens = counts.reduce((sum, count) => sum + count, 0);
    const shape = `${chosen.length}×${length}, ${Math.ceil(8 * Math.log2(Math.max(1, tokens)))}`;
    if (i < most && !shapes.has(shape)) shapes.set(shape, i);
    const each = Math.max(tokens / chosen.length, positionCost(length) * length);
    const share = atOnce(chosen.length, each) / chosen.length;
    sizes.push({ i, size: share * (tokens + PADDING * (chosen.length * length - tokens)) });
  });
  sizes.sort((a, b) => b.size - a.size || a.i - b.i);
  let largest = await batches.batch(0, sizes[0]?.i ?? 0);
  if (computed !== undefined) {
    let fullest = computed(largest);
    for (const { i } of sizes.slice(1, LOOKED_INTO)) {
      const batch = await batches.batch(0, i);
      const tokens = computed(batch);
      if (tokens > fullest) [fullest, largest] = [tokens, batch];
    }
  }
  const firsts = [...shapes.values()];
  const count = Math.min(firsts.length, MOST_SAMPLES);
  const samples = await Promise.all(
    Array.from(
      { length: count },
      (_, k) => batches.batch(0, firsts[Math.floor(k * firsts.length / count)]),
    ),
  );
  return { largest, shapes: shapes.size, samples };
}
