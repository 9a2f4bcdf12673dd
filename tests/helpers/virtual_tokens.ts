/** Adapters of random virtual tokens. */
import type { Adapter } from "../../src/lora/adapter_files.ts";
import type { AdapterCard } from "../../src/lora/adapter_card.ts";
import {
  columnsOf,
  type VirtualMethod,
  type VirtualTokensConfig,
} from "../../src/lora/virtual_tokens/config.ts";
import type { Model } from "../../src/graph/types.ts";
import { adapterBeside } from "./adapter_beside.ts";
import { normal } from "./directional.ts";

/** Virtual tokens that fit the tiny models, which have a hidden size of 64. */
export function tinyTokens(method: VirtualMethod, numVirtualTokens = 3): VirtualTokensConfig {
  return method === "prompt_tuning"
    ? { method, numVirtualTokens, tokenDim: 64 }
    : { method, numVirtualTokens, tokenDim: 32, numLayers: 2, numAttentionHeads: 2 };
}

/** An adapter of random virtual tokens, and of random LoRA matrices if `rank` is above 0. */
export function virtualAdapter(
  model: Model,
  virtualTokens: VirtualTokensConfig,
  { rank = 0, seed = 1 } = {},
): Adapter & { readonly card: AdapterCard } {
  const dims = [virtualTokens.numVirtualTokens, columnsOf(virtualTokens)];
  const parts = { promptEmbeddings: normal(dims, seed, 0.5) };
  return adapterBeside(model, rank, parts, { virtualTokens });
}
