/** Which rows of a padded batch are real tokens, and how many rows a graph is made for that runs over them alone. */
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { TokenBatch } from "./targets.ts";

/** Real tokens of a batch as rows. */
export interface Packing {
  /** Rows, more than the real tokens and less than batch · length. */
  readonly rows: number;
  /** int64 [rows]: places in [batch · length]; real tokens, then one padding place again and again. */
  readonly places: Tensor;
  /** int64 [batch · length]: the row of each place; padding has the first row after the real ones. */
  readonly rowOf: Tensor;
}

/** Share of a batch's places below which leaving out the padding pays for moving rows about. */
const WORTHWHILE = 0.95;

/**
 * @param least rows that there are at least; default as few as graphs are made for
 * @returns `undefined` where too little of the batch is padding
 */
export function packingOf(batch: TokenBatch, least = 0): Packing | undefined {
  const mask = toNumbers(batch.attentionMask);
  const total = mask.length;
  const places: number[] = [];
  let padding: number | undefined;
  for (let place = 0; place < total; place++) {
    if (Number(mask[place]) !== 0) places.push(place);
    else padding ??= place;
  }
  const real = places.length;
  const rows = Math.max(least, packedRows(real));
  if (padding === undefined || rows > total * WORTHWHILE) return undefined;
  const rowOf = new Array<number>(total).fill(real);
  places.forEach((place, row) => rowOf[place] = row);
  while (places.length < rows) places.push(padding);
  return { rows, places: int64([rows], places), rowOf: int64([total], rowOf) };
}

/** Rows are made up to a multiple of so many: few numbers, few shapes. */
const STEP = 8;

/** Rows for a number of real tokens: at least one row more than there are tokens. */
export function packedRows(real: number): number {
  return Math.ceil((real + 1) / STEP) * STEP;
}
