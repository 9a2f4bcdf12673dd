/**
 * Packs a padded batch: lists its real tokens as rows, and chooses the number of rows of the graph that
 * runs over them.
 *
 * A causal model computes the same for tokens that several sequences begin with, such as a chat
 * template's: they may share one row.
 */
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import { stepAt } from "./buckets.ts";
import { commonLength, commonToAll, tokenKeys } from "./prefixes.ts";
import type { TokenBatch } from "./targets.ts";

/** Real tokens of a batch as rows. */
export interface Packing {
  /** Number of rows: more than the tokens, less than batch · length. */
  readonly rows: number;
  /**
   * int64 [rows]: positions in [batch · length]; the first of each row, then one other position
   * repeated.
   */
  readonly positions: Tensor;
  /** int64 [batch · length]: the row of each position; padding has the first row after the tokens'. */
  readonly rowOf: Tensor;
  /**
   * int64 [batch · length]: for each position that is its row's first, the row; for all others the last
   * row, which has no position, so that its cotangent is zero (that of padding is nearly zero, and
   * denormal numbers are slow). Absent unless sequences may share rows.
   */
  readonly firstOf?: Tensor;
  /**
   * Number of tokens that all sequences begin with, if a separate part of attention is worthwhile;
   * otherwise 0.
   */
  readonly common: number;
}

/** Rules for packing the tokens of a batch. */
export interface PackingRules {
  /** Whether padding may be left out at all. */
  readonly packs: boolean;
  /** Whether common beginnings of sequences are computed once. */
  readonly sharesPrefixes: boolean;
  /** Whether tokens attend only to earlier ones, so that attention runs in blocks. */
  readonly isCausal: boolean;
}

/** A batch's tokens as rows, before they are padded to a number of rows that graphs have. */
export interface BatchRows {
  /** First position in [batch · length] of each row. */
  readonly positions: readonly number[];
  /** Row of each position in [batch · length]; `undefined` for padding. */
  readonly rowOf: readonly (number | undefined)[];
  readonly isShared: boolean;
  /** Number of tokens that all sequences begin with, if rows are shared. */
  readonly common: number;
  /** Least number of rows of the graph, including one for padding and one without a position. */
  readonly least: number;
}

/** The rows of a batch: one for each token, unless sequences share their beginnings. */
export function rowsOf(
  batch: TokenBatch,
  { sharesPrefixes }: Pick<PackingRules, "sharesPrefixes"> = { sharesPrefixes: false },
): BatchRows {
  const [sequences, length] = batch.inputIds.dims;
  const mask = toNumbers(batch.attentionMask);
  const isShared = sharesPrefixes && sequences > 1;
  const keys = isShared ? tokenKeys(batch) : [];
  const positions: number[] = [];
  const rowOf = new Array<number | undefined>(sequences * length).fill(undefined);
  for (let s = 0; s < sequences; s++) {
    let [nearest, common] = [0, 0];
    for (let earlier = 0; isShared && earlier < s; earlier++) {
      const length = commonLength(keys[s], keys[earlier]);
      if (length > common) [nearest, common] = [earlier, length];
    }
    for (let t = 0; t < length; t++) {
      const position = s * length + t;
      if (Number(mask[position]) === 0) continue;
      if (t < common) rowOf[position] = rowOf[nearest * length + t];
      else rowOf[position] = positions.push(position) - 1;
    }
  }
  const least = packedRows(positions.length + (isShared ? 1 : 0));
  return { positions, rowOf, isShared, common: commonToAll(keys), least };
}

/** Share of a batch's positions below which leaving out the padding is worth moving rows. */
const WORTHWHILE = 0.95;

/**
 * @param rows at least as many as the batch needs
 * @param begin number of common first tokens, at most those that all sequences share
 * @returns `undefined` if too few of the batch's positions are left out
 */
export function packingOf(
  { positions, rowOf, isShared, common, least }: BatchRows,
  rows = least,
  begin = common,
): Packing | undefined {
  const total = rowOf.length;
  rows = Math.max(rows, least);
  if (rows > total * WORTHWHILE) return undefined;
  const count = positions.length;
  const filler = Math.max(0, rowOf.indexOf(undefined));
  const filled = [...positions, ...new Array<number>(rows - count).fill(filler)];
  const firstOf = () =>
    rowOf.map((row, position) => row !== undefined && positions[row] === position ? row : rows - 1);
  return {
    rows,
    positions: int64([rows], filled),
    rowOf: int64([total], rowOf.map((row) => row ?? count)),
    ...(isShared && { firstOf: int64([total], firstOf()) }),
    common: commonBucket(Math.min(begin, common)),
  };
}

/** Least number of common tokens for which attention computes them separately. */
const LEAST_COMMON = 16;

/** Rounds down to a number of tokens, for few shapes. */
function commonBucket(tokens: number): number {
  const step = stepAt(tokens, 8, 8);
  return tokens < LEAST_COMMON ? 0 : Math.floor(tokens / step) * step;
}

/** Rows are padded to multiples of this number, for few shapes. */
const STEP = 8;

/** Rows for a number of tokens: at least one row more than there are tokens. */
function packedRows(tokens: number): number {
  return Math.ceil((tokens + 1) / STEP) * STEP;
}
