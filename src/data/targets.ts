/** Targets of a batch's loss: rows of logits, their labels, their weights. */
import type { DataType } from "../graph/dtype.ts";
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import { inTokenType } from "../graph/token_types.ts";
import { stepAt } from "./buckets.ts";

/** A batch of token sequences, padded on the right to one length. */
export interface TokenBatch {
  /** int64 [batch, length] */
  readonly inputIds: Tensor;
  /** int64 [batch, length]: 1 for real tokens, 0 for padding. */
  readonly attentionMask: Tensor;
  /** int64 [batch, length]; absent: all zero. */
  readonly tokenTypeIds?: Tensor;
  /**
   * For language modelling: the token ids to predict, row-major [batch, length], not shifted, -100 for
   * positions without a loss. Position t's logits are compared with label t + 1.
   */
  readonly labels?: ArrayLike<number>;
  /** For classification: the class of each sequence. */
  readonly classIds?: ArrayLike<number>;
  /** Real (unpadded) tokens. */
  readonly tokenCount: number;
}

/** The label that means "no loss here". */
export const IGNORED = -100;

export interface Targets {
  /** Rows of the graph: real ones, then padding. */
  readonly rows: number;
  /** Real rows. */
  readonly count: number;
  /** Positions in the flattened [batch · length]; absent for classification. */
  readonly positions?: Int32Array;
  readonly labels: Int32Array;
  /** 1 for real rows, 0 for padding. */
  readonly weights: Float32Array;
}

/**
 * @param padTo number of rows to which a language model's count of rows is padded, with rows of weight 0
 * @throws {TypeError} if the batch has neither labels nor classes
 */
export function targetsOf(
  batch: TokenBatch,
  padTo: (count: number) => number = (count) => count,
): Targets {
  if (batch.classIds !== undefined) {
    const labels = Int32Array.from(batch.classIds);
    const weights = new Float32Array(labels.length).fill(1);
    return { rows: labels.length, count: labels.length, labels, weights };
  }
  if (batch.labels === undefined) throw new TypeError("The batch has neither labels nor classes");
  const [sequences, length] = batch.inputIds.dims;
  const positions: number[] = [];
  const labels: number[] = [];
  for (let s = 0; s < sequences; s++) {
    for (let t = 0; t + 1 < length; t++) {
      const label = batch.labels[s * length + t + 1];
      if (label === IGNORED) continue;
      positions.push(s * length + t);
      labels.push(label);
    }
  }
  const count = labels.length;
  const rows = padTo(count);
  const padded = (values: readonly number[]) => {
    const out = new Int32Array(rows);
    out.set(values);
    return out;
  };
  return {
    rows,
    count,
    positions: padded(positions),
    labels: padded(labels),
    weights: Float32Array.from({ length: rows }, (_, i) => i < count ? 1 : 0),
  };
}

/**
 * Padded number of target rows: from 256 on at most a quarter more, so that few shapes are compiled; a
 * head takes a tenth of a step.
 */
export function rowBucket(count: number): number {
  const step = stepAt(count, 32, 4);
  return Math.max(step, Math.ceil(count / step) * step);
}

/** Number of real rows whose largest logit is their label's. */
export function countCorrect(logits: Tensor, targets: Targets): number {
  const values = toNumbers(logits);
  const classes = logits.dims[logits.dims.length - 1];
  let correct = 0;
  for (let row = 0; row < targets.count; row++) {
    let best = 0;
    for (let c = 1; c < classes; c++) {
      if (values[row * classes + c] > values[row * classes + best]) best = c;
    }
    if (best === targets.labels[row]) correct++;
  }
  return correct;
}

/**
 * A batch's value for a model's token input; `undefined` for inputs of another kind.
 *
 * @param dtype the input's type
 */
export function tokenInput(
  name: string,
  batch: TokenBatch,
  dtype: DataType = "int64",
): Tensor | undefined {
  const value = tokenNumbers(name, batch);
  return value && inTokenType(value, dtype);
}

/** As int64. */
function tokenNumbers(name: string, batch: TokenBatch): Tensor | undefined {
  const [sequences, length] = batch.inputIds.dims;
  switch (name) {
    case "input_ids":
      return batch.inputIds;
    case "attention_mask":
      return batch.attentionMask;
    case "token_type_ids":
      return batch.tokenTypeIds ?? int64([sequences, length], new Uint8Array(sequences * length));
    case "position_ids":
      return int64(
        [sequences, length],
        Array.from({ length: sequences * length }, (_, i) => i % length),
      );
  }
}
