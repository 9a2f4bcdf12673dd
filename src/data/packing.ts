/**
 * Which rows of a padded batch are real tokens, and how many rows a graph is made for that runs over
 * them alone.
 *
 * A model that reads from left to right computes the same for tokens that several sequences begin
 * with, as a chat template's: those may be one row for all of them.
 */
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import { stepAt } from "./buckets.ts";
import { commonLength, commonToAll, tokenKeys } from "./prefixes.ts";
import type { TokenBatch } from "./targets.ts";

/** Real tokens of a batch as rows. */
export interface Packing {
  /** Rows, more than hold tokens and less than batch · length. */
  readonly rows: number;
  /** int64 [rows]: positions in [batch · length]; each row's first, then one other position again and again. */
  readonly positions: Tensor;
  /** int64 [batch · length]: the row of each position; padding has the first row after the tokens'. */
  readonly rowOf: Tensor;
  /**
   * int64 [batch · length]: the row of each position that is its row's first, for all others the last row,
   * which no position has, so that its cotangent is zero: that of padding is nearly zero, and slow. Absent
   * unless sequences may share rows.
   */
  readonly firstOf?: Tensor;
  /** Tokens that all sequences begin with, as far as they are worth a part of attention's own; else 0. */
  readonly common: number;
}

/** How the tokens of a batch are packed. */
export interface PackingRules {
  /** Whether padding may be left out at all. */
  readonly packs: boolean;
  /** Whether what several sequences begin with is computed once. */
  readonly sharesPrefixes: boolean;
  /** Whether tokens see those before them alone, so that attention goes by blocks. */
  readonly isCausal: boolean;
}

/** A batch's tokens as rows, before they are padded to a number that graphs are made for. */
export interface BatchRows {
  /** First position in [batch · length] of each row. */
  readonly positions: readonly number[];
  /** By position in [batch · length]: its row; `undefined` for padding. */
  readonly rowOf: readonly (number | undefined)[];
  readonly isShared: boolean;
  /** Tokens that all sequences begin with, where rows are shared. */
  readonly common: number;
  /** The least number of rows that a graph is made for: there is one for padding, and one for no position. */
  readonly least: number;
}

/** The rows of a batch; one for each token unless sequences share what they begin with. */
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

/** Share of a batch's positions below which leaving out the padding pays for moving rows about. */
const WORTHWHILE = 0.95;

/**
 * @param rows at least as many as the batch needs
 * @param begin at most as many tokens as all sequences begin with
 * @returns `undefined` where too few of the batch's positions are left out
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

/** Beginnings that attention computes once: fewer tokens are not worth taking them apart. */
const LEAST_COMMON = 16;

/** Fewer tokens, so that few shapes come of it. */
function commonBucket(tokens: number): number {
  const step = stepAt(tokens, 8, 8);
  return tokens < LEAST_COMMON ? 0 : Math.floor(tokens / step) * step;
}

/** Rows are made up to a multiple of so many: few numbers, few shapes. */
const STEP = 8;

/** Rows for a number of tokens: at least one row more than there are tokens. */
function packedRows(tokens: number): number {
  return Math.ceil((tokens + 1) / STEP) * STEP;
}
