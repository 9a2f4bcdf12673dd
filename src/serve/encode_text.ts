/** Encodes texts as a batch, for encoders. */
import { int64 } from "../graph/tensor.ts";
import type { TextProcessor } from "../data/mod.ts";
import type { TokenBatch } from "../data/targets.ts";

/** Texts' tokens, and which were truncated. */
export interface EncodedTexts {
  /** Padded at the end to the longest. */
  readonly batch: TokenBatch;
  /** Tokens of each text. */
  readonly lengths: readonly number[];
  readonly truncated: readonly boolean[];
}

/**
 * Encodes texts with the model's special tokens.
 *
 * @param texts at least one
 * @param maxLength most tokens; the end of a longer text is cut, the special tokens stay
 */
export async function encodeTexts(
  processor: TextProcessor,
  texts: readonly string[],
  maxLength = Infinity,
): Promise<EncodedTexts> {
  const whole = await processor.encode(texts);
  const truncated = whole.map((ids) => ids.length > maxLength);
  const cut = truncated.includes(true) ? await processor.encode(texts, { maxLength }) : whole;
  const lengths = cut.map((ids) => ids.length);
  const length = Math.max(...lengths);
  const dims = [texts.length, length];
  const padded = (rows: readonly (ArrayLike<number>)[]) => {
    const values = new BigInt64Array(texts.length * length);
    rows.forEach((row, i) => {
      for (let at = 0; at < row.length; at++) values[i * length + at] = BigInt(row[at]);
    });
    return int64(dims, values);
  };
  return {
    batch: {
      inputIds: padded(cut),
      attentionMask: padded(lengths.map((count) => new Uint8Array(count).fill(1))),
      tokenTypeIds: padded([]),
      tokenCount: lengths.reduce((sum, count) => sum + count, 0),
    },
    lengths,
    truncated,
  };
}
