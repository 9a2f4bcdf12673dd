/** Random adapters beside a model, and as what a merge takes. */
import { toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { inject } from "../../src/lora/inject.ts";
import { findModules } from "../../src/lora/modules.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { normal } from "./directional.ts";

/**
 * A model with a random adapter of rank 4 on the modules that `targets` name, and the same adapter as
 * changes to merge.
 *
 * @param size standard deviation of B
 */
export function withRandomAdapter(base: Model, targets: readonly string[], size: number) {
  const config = { ...DEFAULT_LORA, rank: 4, alpha: 8, targetModules: targets };
  const sites = resolveTargets(findModules(base), config);
  const weights = new Map(sites.map(({ module: { path, inFeatures, outFeatures } }, i) => [path, {
    a: normal([4, inFeatures], 2 * i, 0.1),
    b: normal([outFeatures, 4], 2 * i + 1, size),
  }]));
  const changes = [...weights].map(([path, { a, b }]) => ({
    path,
    updates: [{
      rank: 4,
      scale: 2,
      loraA: Float32Array.from(toNumbers(a)),
      loraB: Float32Array.from(toNumbers(b)),
    }],
  }));
  return { changes, model: inject(base, sites, weights).model };
}
