/** The batches that an evaluation looks at. */
import type { Batch, BatchSource } from "./step.ts";

/**
 * Batches of a source's epoch 0, always the same ones and evenly spread: sources may be sorted by length, so
 * that the first ones would all be short.
 *
 * @param limit the most batches; negative for all
 */
export async function* spreadBatches<B extends Batch>(
  source: BatchSource<B>,
  limit: number,
): AsyncGenerator<B> {
  const all = source.batches(0);
  const count = spreadCount(source, limit);
  for (let i = 0; i < count; i++) yield await source.batch(0, Math.floor(i * all / count));
}

/** The number of batches that {@linkcode spreadBatches} gives. */
export function spreadCount(source: BatchSource, limit: number): number {
  const all = source.batches(0);
  return limit < 0 ? all : Math.min(limit, all);
}
