/** An adapter that nobody trained, for timing what is done with one. */
import { float32 } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { Adapter } from "../lora/adapter_files.ts";
import { DEFAULT_LORA } from "../lora/config.ts";
import { initAdapter } from "../lora/init.ts";
import type { LoraWeights } from "../lora/lora_weights.ts";
import { findModules } from "../lora/modules.ts";
import { resolveTargets } from "../lora/targets.ts";
import { Random } from "../random.ts";

/** Entries of B are drawn from (−this, this): an update that rounding to 4 bits shows. */
const B_RANGE = 0.1;

/** @throws {UsageError} for targets that the model does not have */
export function randomAdapter(
  model: Model,
  { rank, targetModules }: { readonly rank: number; readonly targetModules: readonly string[] },
): Adapter {
  const config = { ...DEFAULT_LORA, rank, alpha: 2 * rank, targetModules };
  const random = Random.fromSeed(0);
  const fresh = initAdapter(resolveTargets(findModules(model), config), "kaiming", random);
  const lora = new Map([...fresh].map(([path, { a, b }]): [string, LoraWeights] => {
    const count = b.dims[0] * b.dims[1];
    const values = Float32Array.from(
      { length: count },
      () => B_RANGE * (random.next() / 2 ** 31 - 1),
    );
    return [path, { a, b: float32(b.dims, values) }];
  }));
  return { lora, saved: new Map(), config: { ...config, adapterType: "lora", gaussian: false } };
}
