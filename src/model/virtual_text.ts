/** Text processing for a model with virtual tokens. */
import type { TextProcessor } from "../data/text.ts";
import { VirtualText } from "../data/virtual_text.ts";
import type { Model } from "../graph/types.ts";
import type { VirtualTokensConfig } from "../lora/virtual_tokens/config.ts";
import { tokenEmbedding } from "../lora/virtual_tokens/embedding.ts";

/**
 * The processor whose texts begin with an adapter's virtual tokens; the same one without any.
 *
 * @param base the model before the adapter is added
 * @throws {UsageError} if the model has no table of embeddings that they can stand beside
 */
export function withVirtualTokens(
  text: TextProcessor,
  base: Model,
  config: Pick<VirtualTokensConfig, "method" | "numVirtualTokens"> | undefined,
): TextProcessor {
  if (config === undefined) return text;
  const first = tokenEmbedding(base).rows;
  const predicts = config.method === "prompt_tuning";
  return new VirtualText(text, { first, count: config.numVirtualTokens, predicts });
}

/** Ids of an adapter's virtual tokens, which every text begins with; none without any. */
export function virtualIdsOf(
  base: Model,
  config: Pick<VirtualTokensConfig, "numVirtualTokens"> | undefined,
): readonly number[] {
  if (config === undefined) return [];
  const { rows } = tokenEmbedding(base);
  return Array.from({ length: config.numVirtualTokens }, (_, i) => rows + i);
}
