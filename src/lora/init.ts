/** Adapter matrices before the first step: A random, B zero, so that training starts at the base. */
import { float32, type Tensor } from "../graph/tensor.ts";
import type { LoraInit } from "./config.ts";
import type { LoraWeights } from "./lora_weights.ts";
import type { LoraSite } from "./targets.ts";

/** A source of whole numbers in [0, 2³²), such as a seeded generator. */
export interface RandomSource {
  /** A whole number in [0, 2³²). */
  next(): number;
}

/**
 * Initialises matrices for every site.
 *
 * `kaiming` draws A from U(−1/√in, 1/√in), which is PyTorch's Kaiming initialisation with a = √5 and
 * PEFT's default; `gaussian` from N(0, 1/rank²), PEFT's `init_lora_weights="gaussian"`.
 *
 * @param columnsOf the width of a site's A, used as `in`; default: its layer's inputs
 */
export function initAdapter(
  sites: readonly LoraSite[],
  init: LoraInit,
  random: RandomSource,
  columnsOf: (site: LoraSite) => number = ({ module }) => module.inFeatures,
): ReadonlyMap<string, LoraWeights> {
  return new Map(sites.map((site) => {
    const { module: { path, outFeatures }, rank } = site;
    const columns = columnsOf(site);
    const draw = init === "gaussian"
      ? () => gaussian(random) / rank
      : () => symmetric(random) / Math.sqrt(columns);
    return [path, {
      a: filled([rank, columns], draw),
      b: filled([outFeatures, rank], () => 0),
    }];
  }));
}

/** A linear layer's weight [out, in] and bias [out], initialised as in PyTorch: U(−1/√in, 1/√in). */
export function initLinear(
  outFeatures: number,
  inFeatures: number,
  random: RandomSource,
): { readonly weight: Tensor; readonly bias: Tensor } {
  const draw = () => symmetric(random) / Math.sqrt(inFeatures);
  return { weight: filled([outFeatures, inFeatures], draw), bias: filled([outFeatures], draw) };
}

function filled(dims: readonly number[], draw: () => number): Tensor {
  const values = new Float32Array(dims.reduce((count, dim) => count * dim, 1));
  for (let i = 0; i < values.length; i++) values[i] = draw();
  return float32(dims, values);
}

/** Uniform in (0, 1): never 0, so that its logarithm exists. */
const uniform = (random: RandomSource) => (random.next() + 0.5) / 2 ** 32;

/** Uniform in (−1, 1). */
const symmetric = (random: RandomSource) => 2 * uniform(random) - 1;

/** Standard normal (Box and Muller, 1958). */
function gaussian(random: RandomSource): number {
  const radius = Math.sqrt(-2 * Math.log(uniform(random)));
  return radius * Math.cos(2 * Math.PI * uniform(random));
}
