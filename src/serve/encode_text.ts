/** Encodes one text as a batch, for encoders. */
import { int64 } from "../graph/tensor.ts";
import type { TextProcessor } from "../data/mod.ts";
import type { TokenBatch } from "../data/targets.ts";

/** A text's tokens, and whether it was truncated. */
export interface EncodedText {
  readonly batch: TokenBatch;
  readonly truncated: boolean;
}

/**
 * Encodes a text with the model's special tokens, without padding.
 *
 * @param maxLength most tokens; the end of a longer text is cut, the special tokens stay
 */
export async function encodeText(
  processor: TextProcessor,
  text: string,
  maxLength = Infinity,
): Promise<EncodedText> {
  const [whole] = await processor.encode([text]);
  const truncated = whole.length > maxLength;
  const ids = truncated ? (await processor.encode([text], { maxLength }))[0] : whole;
  const dims = [1, ids.length];
  return {
    batch: {
      inputIds: int64(dims, ids),
      attentionMask: int64(dims, new Uint8Array(ids.length).fill(1)),
      tokenTypeIds: int64(dims, new Uint8Array(ids.length)),
      tokenCount: ids.length,
    },
    truncated,
  };
}
