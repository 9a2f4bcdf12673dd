/**
 * Subtracts an adapter's initial product, so that training starts at the base wherever A and B start:
 * y' = y + scale·(x·Aᵀ·Bᵀ − x·A₀ᵀ·B₀ᵀ).
 *
 * PEFT subtracts it from the base's weight instead (PiSSA, OLoRA), which a base that stays quantised as it is
 * does not allow. The sum is one product of twice the rank: x·[A; A₀]ᵀ·[B, −B₀]ᵀ. Its matrices are what PEFT
 * saves with `path_initial_model_for_weight_conversion`: a plain adapter of the unchanged base.
 */
import { int } from "../graph/attributes.ts";
import { elementCount, float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { LoraWeights } from "./lora_weights.ts";
import type { AdaptedProduct, Op } from "./low_rank_parts.ts";
import type { PeftConfig } from "./peft_config.ts";

/** A [rank, in] and B [out, rank] beside their initial values, A₀ and −B₀: [2·rank, in] and [out, 2·rank]. */
export function besideInitial({ a, b }: LoraWeights, initial: LoraWeights): LoraWeights {
  const [rank, inFeatures] = a.dims;
  const [outFeatures] = b.dims;
  const down = new Float32Array(2 * elementCount(a.dims));
  down.set(toNumbers(a));
  down.set(toNumbers(initial.a), elementCount(a.dims));
  const up = new Float32Array(2 * elementCount(b.dims));
  const [now, before] = [toNumbers(b), toNumbers(initial.b)];
  for (let o = 0; o < outFeatures; o++) {
    for (let r = 0; r < rank; r++) {
      up[2 * o * rank + r] = now[o * rank + r];
      up[(2 * o + 1) * rank + r] = -before[o * rank + r];
    }
  }
  return {
    a: float32([2 * rank, inFeatures], down),
    b: float32([outFeatures, 2 * rank], up),
  };
}

/** The configuration of such an adapter: twice the rank at the same scale. */
export function configBesideInitial(config: PeftConfig): PeftConfig {
  const alphaFactor = config.useRslora ? Math.SQRT2 : 2;
  return {
    ...config,
    rank: 2 * config.rank,
    alpha: alphaFactor * config.alpha,
    rankPattern: times(config.rankPattern, 2),
    alphaPattern: times(config.alphaPattern, alphaFactor),
    gaussian: false,
  };
}

function times(pattern: Readonly<Record<string, number>>, factor: number) {
  return Object.fromEntries(Object.entries(pattern).map(([key, value]) => [key, factor * value]));
}

/** An adapted product whose layers have their initial values beside A and B. */
export function subtractInitial<P extends Pick<AdaptedProduct, "edit" | "group" | "declared">>(
  product: P,
  initials: ReadonlyMap<string, LoraWeights>,
  op: Op,
): P {
  const { edit, group } = product;
  const declared = product.declared.map(({ a, b }, i) => {
    const { path } = group[i].module;
    const initial = initials.get(path);
    if (initial === undefined) throw new RangeError(`"${path}" has no initial values to subtract`);
    const constant = (name: string, value: Tensor) => edit.shared(`${path}.${name}`, () => value);
    const a0 = constant("lora_A.initial", initial.a);
    const b0 = constant("lora_B.initial_negated", negated(initial.b));
    return {
      a: op("Concat", [a, a0], `down_${i}_beside_initial`, { axis: int(0) }),
      b: op("Concat", [b, b0], `up_${i}_beside_initial`, { axis: int(1) }),
    };
  });
  return { ...product, declared, group: group.map((site) => ({ ...site, rank: 2 * site.rank })) };
}

const negated = (value: Tensor) =>
  float32(value.dims, Float32Array.from(toNumbers(value), (x) => -x));
