/** Random DoRA adapters. */
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import type { AdapterCard } from "../../src/lora/adapter_card.ts";
import type { Adapter } from "../../src/lora/adapter_files.ts";
import { DEFAULT_LORA, type LoraConfig } from "../../src/lora/config.ts";
import { modelDigest } from "../../src/lora/digest.ts";
import { withMagnitudes } from "../../src/lora/dora.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { findModules } from "../../src/lora/modules.ts";
import { resolveTargets, targetNames } from "../../src/lora/targets.ts";
import { normal } from "./directional.ts";

/**
 * A random DoRA adapter of a model.
 *
 * @param off standard deviation of the magnitudes, relative to the norms of the rows
 */
export function doraAdapter(
  base: Model,
  overrides: Partial<LoraConfig>,
  off = 0.1,
): Adapter & { readonly card: AdapterCard } {
  const modules = findModules(base);
  const config = { ...DEFAULT_LORA, rank: 4, alpha: 8, useDora: true, ...overrides };
  const sites = resolveTargets(modules, config);
  const matrices = new Map(sites.map(({ module: { path, inFeatures, outFeatures }, rank }, i) => [
    path,
    { a: normal([rank, inFeatures], 2 * i, 0.2), b: normal([outFeatures, rank], 2 * i + 1, 0.1) },
  ]));
  const whole = withMagnitudes(indexGraph(base.graph), sites, matrices);
  return {
    lora: new Map([...whole].map(([path, { a, b, magnitude }], i) => {
      const by = toNumbers(normal(magnitude!.dims, 1000 + i, off));
      const values = Float32Array.from(toNumbers(magnitude!), (m, n) => m * (1 + by[n]));
      return [path, { a, b, magnitude: float32(magnitude!.dims, values) }];
    })),
    saved: new Map(),
    config: {
      ...config,
      adapterType: "lora",
      targetModules: targetNames(sites.map(({ module }) => module.path), modules),
      gaussian: false,
    },
    card: { baseDigest: modelDigest(base), task: "causal", config: {} },
  };
}
