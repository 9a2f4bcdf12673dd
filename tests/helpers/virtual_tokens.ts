/** Adapters of random virtual tokens. */
import type { Adapter } from "../../src/lora/adapter_files.ts";
import type { AdapterCard } from "../../src/lora/adapter_card.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { modelDigest } from "../../src/lora/digest.ts";
import { findModules } from "../../src/lora/modules.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import {
  columnsOf,
  type VirtualMethod,
  type VirtualTokensConfig,
} from "../../src/lora/virtual_tokens/config.ts";
import type { Model } from "../../src/graph/types.ts";
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
  const sites = rank === 0
    ? []
    : resolveTargets(findModules(model), { ...DEFAULT_LORA, rank, targetModules: ["attention"] });
  return {
    lora: new Map(sites.map(({ module: { path, inFeatures, outFeatures } }, i) => [path, {
      a: normal([rank, inFeatures], 2 * i + 1, 0.2),
      b: normal([outFeatures, rank], 2 * i + 2, 0.2),
    }])),
    saved: new Map(),
    promptEmbeddings: normal([virtualTokens.numVirtualTokens, columnsOf(virtualTokens)], seed, 0.5),
    config: {
      ...DEFAULT_LORA,
      rank,
      alpha: 2 * rank,
      adapterType: "lora",
      targetModules: ["q_proj", "k_proj", "v_proj", "o_proj"],
      taskType: "CAUSAL_LM",
      gaussian: false,
      virtualTokens,
    },
    card: { baseDigest: modelDigest(model), task: "causal", config: {} },
  };
}
