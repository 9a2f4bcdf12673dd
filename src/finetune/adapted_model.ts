/** A model with an adapter in it, and how the adapter becomes files again. */
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import type { Adapter } from "../lora/adapter_files.ts";
import type { SavedModule } from "../lora/adapter_tensors.ts";
import { type BottleneckWeights, checkedBottleneck } from "../lora/bottleneck/weights.ts";
import { HEAD, type LoraWeights, type Trainable } from "../lora/mod.ts";
import type { PeftConfig } from "../lora/peft_config.ts";

/** A model with an adapter in it, ready to train. */
export interface AdaptedModel {
  readonly model: Model;
  /** Tensors of the adapter, by name. */
  readonly trainable: ReadonlyMap<string, Trainable>;
  /** The tensors that the loss depends on: those that are trained. */
  readonly trained: ReadonlySet<string>;
  /** Whether a classification head was added. */
  readonly newHead: boolean;
  /** What `adapter_config.json` will say. */
  readonly config: PeftConfig;
}

/** Sorts tensors into an adapter; what was not trained keeps its value. */
export function adapterOf(
  { model, trainable, newHead, config }: AdaptedModel,
  parameters: ReadonlyMap<string, Tensor>,
  card: AdapterCard,
): Adapter & { readonly card: AdapterCard } {
  const byPath = new Map<string, Partial<Record<Trainable["which"], Tensor>>>();
  for (const [name, { path, which }] of trainable) {
    if (newHead && (name === HEAD.weight || name === HEAD.bias)) continue;
    const parts = byPath.get(path) ?? {};
    parts[which] = parameters.get(name) ?? model.graph.initializers.get(name);
    byPath.set(path, parts);
  }
  const lora = new Map<string, LoraWeights>();
  const saved = new Map<string, SavedModule>();
  const bottlenecks = new Map<string, BottleneckWeights>();
  for (const [path, { A, B, weight, bias, ...parts }] of byPath) {
    if (A !== undefined && B !== undefined) lora.set(path, { a: A, b: B });
    else if (weight !== undefined) saved.set(path, { weight, bias });
    if (Object.keys(parts).length > 0) bottlenecks.set(path, checkedBottleneck(path, parts));
  }
  const head = newHead
    ? { weight: parameters.get(HEAD.weight)!, bias: parameters.get(HEAD.bias)! }
    : undefined;
  const beside = bottlenecks.size === 0 ? {} : { bottlenecks };
  return { lora, saved, ...beside, head, config, card };
}
