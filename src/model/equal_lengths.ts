/** Sequences in batches without any padding. */
import { concat } from "@std/bytes/concat";
import type { TokenBatch } from "../data/targets.ts";
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";

/** Tokens that are looked at together to find sequences of equal lengths. */
const WINDOW_TOKENS = 16_384;

/**
 * Sequences of one batch each, gathered into batches of equal lengths.
 *
 * @param maxTokens most tokens of a batch, unless one sequence has more
 */
export async function* inEqualLengths(
  sequences: AsyncIterable<TokenBatch>,
  maxTokens: number,
): AsyncGenerator<TokenBatch> {
  let window: TokenBatch[] = [];
  let tokens = 0;
  for await (const sequence of sequences) {
    window.push(sequence);
    tokens += sequence.tokenCount;
    if (tokens < WINDOW_TOKENS) continue;
    yield* gathered(window, maxTokens);
    [window, tokens] = [[], 0];
  }
  yield* gathered(window, maxTokens);
}

function* gathered(window: readonly TokenBatch[], maxTokens: number): Generator<TokenBatch> {
  const sorted = [...window].sort((a, b) => a.tokenCount - b.tokenCount);
  for (let start = 0; start < sorted.length;) {
    const { tokenCount } = sorted[start];
    let end = start + 1;
    while (
      sorted[end]?.tokenCount === tokenCount && (end + 1 - start) * tokenCount <= maxTokens
    ) end++;
    yield stacked(sorted.slice(start, end), tokenCount);
    start = end;
  }
}

function stacked(rows: readonly TokenBatch[], length: number): TokenBatch {
  const stack = (tensors: readonly Tensor[]): Tensor => ({
    dtype: tensors[0].dtype,
    dims: [rows.length, length],
    bytes: concat(tensors.map(({ bytes }) => bytes)),
  });
  const tokenTypeIds = rows.flatMap((row) => row.tokenTypeIds ?? []);
  return {
    inputIds: stack(rows.map((row) => row.inputIds)),
    attentionMask: stack(rows.map((row) => row.attentionMask)),
    ...(tokenTypeIds.length === 0 ? {} : { tokenTypeIds: stack(tokenTypeIds) }),
    tokenCount: rows.length * length,
  };
}

/**
 * The sequences of a batch one by one without their padding, so that every row of every value belongs
 * to a token. Labels and classes are left out.
 */
export function* unpadded(batch: TokenBatch): Generator<TokenBatch> {
  const [rows, length] = batch.inputIds.dims;
  const mask = toNumbers(batch.attentionMask);
  for (let row = 0; row < rows; row++) {
    let tokens = 0;
    while (tokens < length && mask[row * length + tokens] !== 0) tokens++;
    if (tokens === 0) continue;
    const cut = (value: Tensor) => {
      const ids = toNumbers(value);
      return int64(
        [1, tokens],
        Array.from({ length: tokens }, (_, t) => ids[row * length + t]),
      );
    };
    yield {
      inputIds: cut(batch.inputIds),
      attentionMask: cut(batch.attentionMask),
      ...(batch.tokenTypeIds === undefined ? {} : { tokenTypeIds: cut(batch.tokenTypeIds) }),
      tokenCount: tokens,
    };
  }
}
