/** Adapters of methods that may have random LoRA matrices beside them. */
import type { AdapterCard } from "../../src/lora/adapter_card.ts";
import type { Adapter } from "../../src/lora/adapter_files.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { modelDigest } from "../../src/lora/digest.ts";
import { findModules } from "../../src/lora/modules.ts";
import type { PeftConfig } from "../../src/lora/peft_config.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import type { Model } from "../../src/graph/types.ts";
import { normal } from "./directional.ts";

/**
 * An adapter of a method's own parts, and of random LoRA matrices on the attention if `rank` is above 0.
 *
 * @param settings what the configuration says of the method
 */
export function adapterBeside(
  model: Model,
  rank: number,
  parts: Partial<Adapter>,
  settings: Partial<PeftConfig>,
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
    ...parts,
    config: {
      ...DEFAULT_LORA,
      rank,
      alpha: 2 * rank,
      adapterType: "lora",
      targetModules: ["q_proj", "k_proj", "v_proj", "o_proj"],
      taskType: "CAUSAL_LM",
      gaussian: false,
      ...settings,
    },
    card: { baseDigest: modelDigest(model), task: "causal", config: {} },
  };
}
