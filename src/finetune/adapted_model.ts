/** A model with an adapter in it, and how the adapter becomes files again. */
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import type { Adapter } from "../lora/adapter_files.ts";
import type { SavedModule } from "../lora/adapter_tensors.ts";
import { type BottleneckWeights, checkedBottleneck } from "../lora/bottleneck/weights.ts";
import { digestOf } from "../lora/digest.ts";
import { besideInitial } from "../lora/initial_product.ts";
import { HEAD, type LoraWeights, type Trainable } from "../lora/mod.ts";
import type { VectorPart } from "../lora/trainable.ts";
import type { PeftConfig } from "../lora/peft_config.ts";
import type { FineTuneConfig } from "./config.ts";

/** A model with an adapter in it, ready to train. */
export interface AdaptedModel {
  readonly model: Model;
  /** Tensors of the adapter, by name. */
  readonly trainable: ReadonlyMap<string, Trainable>;
  /** The tensors that the loss depends on: those that are trained. */
  readonly trained: ReadonlySet<string>;
  /** Values of A and B whose product is subtracted in the model, by module path; saved as further ranks. */
  readonly initials?: ReadonlyMap<string, LoraWeights>;
  /** Whether the model computes what the base does before the first step, up to rounding. */
  readonly atBase: boolean;
  /** Whether a classification head was added. */
  readonly newHead: boolean;
  /** What `adapter_config.json` will say. */
  readonly config: PeftConfig;
}

/** The tensors to train: all, or all but A. */
export function trainedOf(
  trainable: ReadonlyMap<string, Trainable>,
  { freezeA }: Pick<FineTuneConfig, "freezeA">,
): ReadonlySet<string> {
  const names = [...trainable].filter(([, { which }]) => !freezeA || which !== "A");
  return new Set(names.map(([name]) => name));
}

/** Tensors of the adapter that training does not change. */
function frozenTensors(
  { model, trainable, trained, initials = new Map() }: AdaptedModel,
): readonly Tensor[] {
  const names = [...trainable.keys()].filter((name) => !trained.has(name));
  return [
    ...names.map((name) => model.graph.initializers.get(name)!),
    ...[...initials.values()].flatMap(({ a, b }) => [a, b]),
  ];
}

/** Bytes of the adapter's tensors that training does not change. */
export function frozenBytes(adapted: AdaptedModel): number {
  return frozenTensors(adapted).reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
}

/** A digest of the adapter's tensors that training does not change; `undefined` if it changes all. */
export function frozenDigest(adapted: AdaptedModel): string | undefined {
  const tensors = frozenTensors(adapted);
  return tensors.length === 0 ? undefined : digestOf(...tensors.map(({ bytes }) => bytes));
}

/**
 * Bytes of what saving makes beside everything else: an adapter that starts from the weights becomes one of
 * twice the rank.
 */
export function convertedBytes({ initials = new Map() }: AdaptedModel): number {
  const matrices = [...initials.values()].flatMap(({ a, b }) => [a, b]);
  return 2 * matrices.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
}

/** Sorts tensors into an adapter; what was not trained keeps its value. */
export function adapterOf(
  { model, trainable, initials, newHead, config }: AdaptedModel,
  parameters: ReadonlyMap<string, Tensor>,
  card: AdapterCard,
): Adapter & { readonly card: AdapterCard } {
  const byPath = new Map<
    string,
    Partial<Record<Exclude<Trainable["which"], "virtual" | VectorPart>, Tensor>>
  >();
  const virtual: Tensor[] = [];
  const vectors = new Map<string, Tensor>();
  for (const [name, { path, which }] of trainable) {
    if (which === "vector weight" || which === "vector bias") {
      const part = which.slice("vector ".length);
      vectors.set(`${path}.${part}`, parameters.get(name) ?? model.graph.initializers.get(name)!);
      continue;
    }
    if (which === "virtual") {
      virtual.push(parameters.get(name) ?? model.graph.initializers.get(name)!);
      continue;
    }
    if (newHead && (name === HEAD.weight || name === HEAD.bias)) continue;
    const parts = byPath.get(path) ?? {};
    parts[which] = parameters.get(name) ?? model.graph.initializers.get(name);
    byPath.set(path, parts);
  }
  const lora = new Map<string, LoraWeights>();
  const saved = new Map<string, SavedModule>();
  const bottlenecks = new Map<string, BottleneckWeights>();
  for (const [path, { A, B, magnitude, weight, bias, ...parts }] of byPath) {
    if (A !== undefined && B !== undefined) {
      const [pair, initial] = [
        { a: A, b: B, ...(magnitude && { magnitude }) },
        initials?.get(path),
      ];
      lora.set(path, initial === undefined ? pair : besideInitial(pair, initial));
    } else if (weight !== undefined) saved.set(path, { weight, bias });
    if (Object.keys(parts).length > 0) bottlenecks.set(path, checkedBottleneck(path, parts));
  }
  const head = newHead
    ? { weight: parameters.get(HEAD.weight)!, bias: parameters.get(HEAD.bias)! }
    : undefined;
  const beside = {
    ...(bottlenecks.size === 0 ? {} : { bottlenecks }),
    ...(vectors.size === 0 ? {} : { vectors }),
    // In the order they were added: layer by layer, keys before values.
    ...(virtual.length === 0 ? {} : { promptEmbeddings: besideEachOther(virtual) }),
  };
  return { lora, saved, ...beside, head, config, card };
}

/** Matrices of as many rows, as one. */
function besideEachOther(parts: readonly Tensor[]): Tensor {
  const [{ dims: [rows] }] = parts;
  const all = parts.reduce((sum, { dims }) => sum + dims[1], 0);
  const values = new Float32Array(rows * all);
  let column = 0;
  for (const part of parts) {
    const [, width] = part.dims;
    const own = Float32Array.from(toNumbers(part));
    for (let r = 0; r < rows; r++) {
      values.set(own.subarray(r * width, (r + 1) * width), r * all + column);
    }
    column += width;
  }
  return float32([rows, all], values);
}
