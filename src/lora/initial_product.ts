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
export function besideInitial(now: LoraWeights, initial: LoraWeights): LoraWeights {
  return beside(now, initial, -1);
}

/**
 * The matrices whose trained part a checkpoint has, beside what the saved adapter has besides: its initial
 * values, and A where that is frozen.
 *
 * @param trained A [rank, in], if it is trained, and B [out, rank]
 */
export function besideFrozen(
  { a, b }: { readonly a?: Tensor; readonly b: Tensor },
  saved: LoraWeights,
): LoraWeights {
  const [ranks, rank] = [saved.a.dims[0], b.dims[1]];
  const now = { a: a ?? ranksOf(saved, 0, rank).a, b };
  return ranks === 2 * rank ? beside(now, ranksOf(saved, rank, ranks)) : now;
}

/**
 * Two updates as one, their ranks beside each other.
 *
 * @param sign of the other's B
 */
function beside(one: LoraWeights, other: LoraWeights, sign = 1): LoraWeights {
  const ranks = one.a.dims[0] + other.a.dims[0];
  const [, inFeatures] = one.a.dims;
  const [outFeatures] = one.b.dims;
  const a = new Float32Array(ranks * inFeatures);
  a.set(toNumbers(one.a));
  a.set(toNumbers(other.a), elementCount(one.a.dims));
  const b = new Float32Array(outFeatures * ranks);
  let column = 0;
  for (const [{ b: part }, factor] of [[one, 1], [other, sign]] as const) {
    const [values, own] = [toNumbers(part), part.dims[1]];
    for (let o = 0; o < outFeatures; o++) {
      for (let r = 0; r < own; r++) b[o * ranks + column + r] = factor * values[o * own + r];
    }
    column += own;
  }
  return { ...one, a: float32([ranks, inFeatures], a), b: float32([outFeatures, ranks], b) };
}

/** The ranks [from, to) of an update. */
function ranksOf({ a, b }: LoraWeights, from: number, to: number): LoraWeights {
  const [ranks, inFeatures] = a.dims;
  const [outFeatures] = b.dims;
  const count = to - from;
  const values = toNumbers(b);
  return {
    a: float32(
      [count, inFeatures],
      Float32Array.from(toNumbers(a)).subarray(from * inFeatures, to * inFeatures),
    ),
    b: float32(
      [outFeatures, count],
      Float32Array.from(
        { length: outFeatures * count },
        (_, i) => values[Math.floor(i / count) * ranks + from + i % count],
      ),
    ),
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
  const declared = product.declared.map(({ a, b, ...others }, i) => {
    const { path } = group[i].module;
    const initial = initials.get(path);
    if (initial === undefined) throw new RangeError(`"${path}" has no initial values to subtract`);
    const constant = (name: string, value: Tensor) => edit.shared(`${path}.${name}`, () => value);
    const a0 = constant("lora_A.initial", initial.a);
    const b0 = constant("lora_B.initial_negated", negated(initial.b));
    return {
      ...others,
      a: op("Concat", [a, a0], `down_${i}_beside_initial`, { axis: int(0) }),
      b: op("Concat", [b, b0], `up_${i}_beside_initial`, { axis: int(1) }),
    };
  });
  return { ...product, declared, group: group.map((site) => ({ ...site, rank: 2 * site.rank })) };
}

const negated = (value: Tensor) =>
  float32(value.dims, Float32Array.from(toNumbers(value), (x) => -x));
