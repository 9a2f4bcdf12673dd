/** Parts of a batch. */
import { int64, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import { IGNORED, type TokenBatch } from "./targets.ts";

/** Sequences [start, end) of a batch, as far as they exist, with their padding. */
export function sliceBatch(batch: TokenBatch, start: number, end: number): TokenBatch {
  const [sequences, length] = batch.inputIds.dims;
  end = Math.min(end, sequences);
  if (start === 0 && end === sequences) return batch;
  const rows = (value: Tensor): Tensor => {
    const rowBytes = value.bytes.byteLength / sequences;
    const bytes = value.bytes.subarray(start * rowBytes, end * rowBytes);
    return { ...value, dims: [end - start, length], bytes };
  };
  const { tokenTypeIds, labels, classIds } = batch;
  const attentionMask = rows(batch.attentionMask);
  const mask = new BigInt64Array(attentionMask.bytes.slice().buffer);
  return {
    inputIds: rows(batch.inputIds),
    attentionMask,
    ...(tokenTypeIds && { tokenTypeIds: rows(tokenTypeIds) }),
    ...(labels && { labels: Array.from(labels).slice(start * length, end * length) }),
    ...(classIds && { classIds: Array.from(classIds).slice(start, end) }),
    tokenCount: mask.reduce((sum, one) => sum + Number(one), 0),
  };
}

/** Divides a batch into parts of `size` sequences; the last one has the rest. */
export function cutBatch(batch: TokenBatch, size: number): TokenBatch[] {
  const count = Math.ceil(batch.inputIds.dims[0] / size);
  return Array.from({ length: count }, (_, i) => sliceBatch(batch, i * size, (i + 1) * size));
}

/** The sequences with the first `count` targets of a language model's batch, with only these targets. */
export function firstTargets(batch: TokenBatch, count: number): TokenBatch {
  const [, length] = batch.inputIds.dims;
  let [left, end] = [count, 0];
  const labels = Array.from(batch.labels!, (label, at) => {
    // Nothing predicts a sequence's first token.
    if (label === IGNORED || at % length === 0 || left === 0) return IGNORED;
    left--;
    end = Math.floor(at / length) + 1;
    return label;
  });
  return sliceBatch({ ...batch, labels }, 0, end);
}

/** The first tokens of each sequence; the count of real tokens stays that of the whole batch. */
export function firstTokens(batch: TokenBatch, length: number): TokenBatch {
  const [sequences, whole] = batch.inputIds.dims;
  const rows = Array.from({ length: sequences }, (_, row) => row);
  const cut = (value: Tensor) => cutTokens(value, rows, length);
  const { labels, tokenTypeIds } = batch;
  return {
    ...batch,
    inputIds: cut(batch.inputIds),
    attentionMask: cut(batch.attentionMask),
    ...(tokenTypeIds && { tokenTypeIds: cut(tokenTypeIds) }),
    ...(labels && { labels: Array.from(labels).filter((_, i) => i % whole < length) }),
  };
}

/**
 * Pads sequences to `length` tokens; without labels.
 *
 * @param padId default 0, for models with a mask
 */
export function padTokens(batch: TokenBatch, length: number, padId = 0): TokenBatch {
  const [sequences, whole] = batch.inputIds.dims;
  const pad = (value: Tensor, by: number) => {
    const ids = toNumbers(value);
    return int64(
      [sequences, length],
      Array.from({ length: sequences * length }, (_, i) => {
        const [row, token] = [Math.floor(i / length), i % length];
        return token < whole ? ids[row * whole + token] : by;
      }),
    );
  };
  const { inputIds, attentionMask, tokenTypeIds, tokenCount } = batch;
  return {
    inputIds: pad(inputIds, padId),
    attentionMask: pad(attentionMask, 0),
    ...(tokenTypeIds && { tokenTypeIds: pad(tokenTypeIds, 0) }),
    tokenCount,
  };
}

/**
 * The first `length` tokens of some sequences.
 *
 * @param value [sequences, tokens] of whole bytes
 */
export function cutTokens(value: Tensor, rows: readonly number[], length: number): Tensor {
  const [sequences, columns] = value.dims;
  const size = value.bytes.byteLength / (sequences * columns);
  const out = new Uint8Array(rows.length * length * size);
  rows.forEach((row, r) => {
    const start = row * columns * size;
    out.set(value.bytes.subarray(start, start + length * size), r * length * size);
  });
  return tensor(value.dtype, [rows.length, length], out);
}
