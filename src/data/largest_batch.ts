/** Finds the batch for which a step needs the most memory. */
import type { Batch, Batches } from "./batches.ts";
import { bucketFor } from "./buckets.ts";

/** Cost of a padded position relative to a token: its part in attention's scores. */
const PADDING = 0.05;

/** Batch shapes of a data set's first epoch. */
export interface BatchShapes {
  /** The batch with the most tokens at once; padding, which only attention computes, counts little. */
  readonly largest: Batch;
  /**
   * Approximate number of different shapes: batches differ in their padded length, and in their numbers
   * of tokens and targets, in steps of an eighth.
   */
  readonly shapes: number;
  /** A batch of each shape, or {@linkcode MOST_SAMPLES} that are spread over them. */
  readonly samples: readonly Batch[];
}

/** Most batches that are read for their shapes. */
const MOST_SAMPLES = 48;

/** Number of the largest batches whose computed tokens are counted. */
const LOOKED_INTO = 8;

/** Rules for the part of a batch that runs at once. */
export interface ShapeRules {
  /** Number of a batch's sequences that run at once, by their computed tokens. */
  readonly atOnce: (sequences: number, each: number) => number;
  /**
   * Least cost of a position in a sequence of a length, in tokens; default 1: padding is computed like
   * any token.
   */
  readonly positionCost?: (length: number) => number;
  /** Number of batches of the epoch that are run; shapes of later ones do not count; default all. */
  readonly most?: number;
  /** Number of a batch's computed tokens, if not all are computed. */
  readonly computed?: (batch: Batch) => number;
}

/** Reads the lengths of all rows, and the tokens of few batches. */
export async function batchShapes(
  batches: Batches,
  { atOnce, positionCost = () => 1, computed, most = Infinity }: ShapeRules,
): Promise<BatchShapes> {
  const { rows, options } = batches;
  /** By shape: its first batch. */
  const shapes = new Map<string, number>();
  const sizes: { readonly i: number; readonly size: number }[] = [];
  batches.rowsOf(0).forEach((chosen, i) => {
    if (chosen.length === 0) return;
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
