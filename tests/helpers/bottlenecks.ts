/** Adapters with bottlenecks far from their start, and torch's view of them. */
import type { Adapter } from "../../src/lora/adapter_files.ts";
import type { AdapterCard } from "../../src/lora/adapter_card.ts";
import { type BottleneckConfig, bottleneckWidth } from "../../src/lora/bottleneck/config.ts";
import { bottleneckSites } from "../../src/lora/bottleneck/sites.ts";
import { findModules } from "../../src/lora/modules.ts";
import { reachOf } from "../../src/lora/reach.ts";
import type { Model } from "../../src/graph/types.ts";
import { adapterBeside } from "./adapter_beside.ts";
import { normal } from "./directional.ts";

/** An adapter of random bottlenecks, and of random LoRA matrices if `rank` is above 0. */
export function bottleneckAdapter(
  model: Model,
  bottleneck: BottleneckConfig,
  rank = 0,
): Adapter & { readonly card: AdapterCard } {
  const modules = findModules(model);
  const followed = bottleneckSites(modules, bottleneck.placement, {}, reachOf(model));
  const bottlenecks = new Map(followed.map(({ path, outFeatures }, i) => {
    const width = bottleneckWidth(outFeatures, bottleneck);
    return [path, {
      "adapter_down.weight": normal([width, outFeatures], 100 + 4 * i, 0.3),
      "adapter_down.bias": normal([width], 101 + 4 * i, 0.3),
      "adapter_up.weight": normal([outFeatures, width], 102 + 4 * i, 0.3),
      "adapter_up.bias": normal([outFeatures], 103 + 4 * i, 0.1),
    }];
  }));
  return adapterBeside(model, rank, { bottlenecks }, { bottleneck });
}
