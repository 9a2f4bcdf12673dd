/** Batches of token tensors by position, for the training loop. */
import { int64 } from "../graph/tensor.ts";
import { bucketFor, type Buckets } from "./buckets.ts";
import { type EncodedRow, targetCount } from "./encode.ts";
import { dealRows, type Part } from "./deal_rows.ts";
import { batchRows, type OrderOptions } from "./order.ts";
import { IGNORED, type TokenBatch } from "./targets.ts";
import type { EncodedRows } from "./token_store.ts";

/** A batch with labels and classes as numbers: labels are [batch · length], classes [batch]. */
export interface Batch extends TokenBatch {
  /**
   * Targets of a language model: the id that each position is to predict, [rows × length]; absent
   * for classes.
   */
  readonly labels?: Int32Array;
  /** Class of each row; absent for language models. */
  readonly classIds?: Int32Array;
  /** Tokens whose prediction counts (labels after the first position), or rows with a class. */
  readonly targetCount: number;
}

/** How rows become tensors. */
export interface CollateOptions {
  /** Id that fills rows up to the batch's length. */
  readonly padId: number;
  /** Lengths that batches are padded to, in tokens. */
  readonly buckets: Buckets;
  /** Whether the model has a `token_type_ids` input. */
  readonly tokenTypeIds?: boolean;
}

/** Collects rows into one batch. */
export function collate(rows: readonly EncodedRow[], options: CollateOptions): Batch {
  if (rows.length === 0) return noRows(options);
  const longest = rows.reduce((most, { ids }) => Math.max(most, ids.length), 1);
  const length = bucketFor(options.buckets, longest);
  const dims = [rows.length, length];
  const ids = new BigInt64Array(rows.length * length).fill(BigInt(options.padId));
  const mask = new BigInt64Array(rows.length * length);
  const classified = rows[0].classId !== undefined;
  const labels = classified ? undefined : new Int32Array(rows.length * length).fill(IGNORED);
  let tokenCount = 0;
  let targets = 0;
  rows.forEach((row, r) => {
    const start = r * length;
    row.ids.forEach((id, t) => {
      ids[start + t] = BigInt(id);
      mask[start + t] = 1n;
    });
    for (let s = 0; labels !== undefined && s < row.spans.length; s += 2) {
      labels.set(row.ids.subarray(row.spans[s], row.spans[s + 1]), start + row.spans[s]);
    }
    tokenCount += row.ids.length;
    targets += targetCount(row);
  });
  return {
    inputIds: int64(dims, ids),
    attentionMask: int64(dims, mask),
    ...(options.tokenTypeIds ? { tokenTypeIds: int64(dims, new BigInt64Array(ids.length)) } : {}),
    ...(labels !== undefined ? { labels } : {}),
    ...(classified ? { classIds: Int32Array.from(rows, (row) => row.classId!) } : {}),
    tokenCount,
    targetCount: targets,
  };
}

/** What a process has of a batch with fewer rows than processes. */
function noRows({ buckets, tokenTypeIds }: CollateOptions): Batch {
  const none = int64([0, bucketFor(buckets, 1)], new BigInt64Array());
  return {
    inputIds: none,
    attentionMask: none,
    ...(tokenTypeIds ? { tokenTypeIds: none } : {}),
    tokenCount: 0,
    targetCount: 0,
  };
}

/**
 * Batches by epoch and index. The same position gives the same batch in every run over the same rows,
 * options and seed, so that a resume needs only the position.
 */
export class Batches {
  #epoch = -1;
  #plan: readonly Uint32Array[] = [];

  /**
   * Puts rows into batches.
   *
   * @throws {RangeError} unless the batch size is a whole number of at least 1
   */
  constructor(
    readonly rows: EncodedRows,
    readonly options: OrderOptions & CollateOptions & {
      /** The process whose rows of each batch these are; absent: all rows. */
      readonly part?: Part;
    },
  ) {
    const { batchSize } = options;
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      throw new RangeError(
        `A batch size must be a whole number >= 1: current value is ${batchSize}`,
      );
    }
  }

  /** Number of batches of an epoch. */
  batches(_epoch: number): number {
    return Math.ceil(this.rows.count / this.options.batchSize);
  }

  /**
   * Reads a batch; epochs and batches count from 0.
   *
   * @throws {RangeError} for an index that the epoch does not have
   */
  async batch(epoch: number, index: number): Promise<Batch> {
    const chosen = this.rowsOf(epoch)[index];
    if (chosen === undefined) {
      throw new RangeError(
        `Epoch ${epoch} has ${this.batches(epoch)} batches: current value is ${index}`,
      );
    }
    const rows = await Promise.all(Array.from(chosen, (row) => this.rows.row(row)));
    return collate(rows, this.options);
  }

  /** Row numbers of every batch of an epoch. */
  rowsOf(epoch: number): readonly Uint32Array[] {
    if (this.#epoch !== epoch) {
      const { part } = this.options;
      const whole = batchRows(this.rows, epoch, this.options);
      this.#plan = part === undefined
        ? whole
        : whole.map((chosen) => dealRows(chosen, this.rows, part));
      this.#epoch = epoch;
    }
    return this.#plan;
  }
}
