/** The sizes of a batch as symbols. */
import { minus, settled } from "../graph/extent_arithmetic.ts";
import { type Extent, Sizes } from "../graph/size.ts";
import type { BatchSizes, PlanOptions, SizedOptions } from "./options.ts";

/** Names of a batch's sizes. */
export const SIZE_NAMES = ["batch", "length", "rows", "targets", "common", "from"] as const;
export type SizeName = typeof SIZE_NAMES[number];

/** A batch's sizes by the names of their symbols, without those that are absent. */
export function sizesByName<Count extends Extent>(
  { batch, length, packedRows, targetRows, commonTokens, span }: BatchSizes<Count>,
): ReadonlyMap<string, Count> {
  const named: Record<SizeName, Count | undefined> = {
    batch,
    length,
    rows: packedRows,
    targets: targetRows,
    common: commonTokens,
    from: span?.from,
  };
  return new Map(
    Object.entries(named).filter((entry): entry is [string, Count] => entry[1] !== undefined),
  );
}

/**
 * The values of a batch's symbols.
 *
 * @throws {RangeError} where a span's packed rows are not as many as its tokens, since both count as the same
 *   size
 */
export function valuesOf(batch: BatchSizes): ReadonlyMap<string, number> {
  const { length, packedRows, span } = batch;
  if (span !== undefined && packedRows !== length - span.from) {
    throw new RangeError(`A span of ${length - span.from} tokens has ${packedRows} packed rows`);
  }
  return sizesByName(batch);
}

/**
 * Options whose sizes are symbols, with their values at a batch.
 *
 * @param fixed names of those that stay numbers
 */
export function overSizes(
  options: PlanOptions,
  fixed: ReadonlySet<string>,
): { readonly sizes: Sizes; readonly options: SizedOptions } {
  const values = valuesOf(options);
  const sizes = new Sizes(values);
  const of = (name: string): Extent =>
    fixed.has(name) ? settled(sizes.symbol(name)) : sizes.symbol(name);
  const optional = (name: string) => values.has(name) ? of(name) : undefined;
  const length = of("length");
  const span = options.span && { ...options.span, from: of("from") };
  return {
    sizes,
    options: {
      ...options,
      batch: of("batch"),
      length,
      packedRows: span === undefined ? optional("rows") : minus(length, span.from),
      targetRows: optional("targets"),
      commonTokens: optional("common"),
      span,
    },
  };
}
