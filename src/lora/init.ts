/** Random adapter matrices before the first step, whose product is zero: training starts at the base. */
import { ParameterError } from "../errors.ts";
import { float32, type Tensor } from "../graph/tensor.ts";
import { type Matrix, matrixOf, transposed, transposedProduct } from "../linalg/matrix.ts";
import { qr } from "../linalg/qr.ts";
import type { LoraInit } from "./config.ts";
import type { LoraWeights } from "./lora_weights.ts";
import { columnsOf, type VirtualTokensConfig } from "./virtual_tokens/config.ts";

/** A source of whole numbers in [0, 2³²), such as a seeded generator. */
export interface RandomSource {
  /** A whole number in [0, 2³²). */
  next(): number;
}

/** A layer's place and the shapes of its matrices. */
export interface ShapedSite {
  /** Its path and the sides of its weight. */
  readonly module: {
    readonly path: string;
    readonly inFeatures: number;
    readonly outFeatures: number;
  };
  /** Rank of its matrices. */
  readonly rank: number;
}

/**
 * Initialises matrices for every site.
 *
 * `kaiming` draws A from U(−1/√in, 1/√in), which is PyTorch's Kaiming initialisation with a = √5 and
 * PEFT's default; `gaussian` from N(0, 1/rank²), PEFT's `init_lora_weights="gaussian"`; B is zero.
 * `orthogonal` draws both from halves of an orthogonal basis of the ranks, as PEFT does, so that B·A is
 * zero up to rounding although neither is.
 *
 * @param columnsOf the width of a site's A, used as `in`; default: its layer's inputs
 * @throws {ParameterError} for `orthogonal` with an odd rank
 */
export function initAdapter<S extends ShapedSite>(
  sites: readonly S[],
  init: LoraInit,
  random: RandomSource,
  columnsOf: (site: S) => number = ({ module }) => module.inFeatures,
): ReadonlyMap<string, LoraWeights> {
  return new Map(sites.map((site) => {
    const { module: { path, outFeatures }, rank } = site;
    const columns = columnsOf(site);
    if (init === "orthogonal") return [path, orthogonal(path, outFeatures, columns, rank, random)];
    const draw = init === "gaussian"
      ? () => gaussian(random) / rank
      : () => symmetric(random) / Math.sqrt(columns);
    return [path, {
      a: filled([rank, columns], draw),
      b: filled([outFeatures, rank], () => 0),
    }];
  }));
}

/** Size of the elements, as PEFT has it. */
const ORTHOGONAL_SIZE = 0.1;

/** A = Q₁ᵀ·G and B = H·Q₂ for normal G and H, and the odd and even rows of an orthogonal Q [rank, rank]. */
function orthogonal(
  path: string,
  outFeatures: number,
  columns: number,
  rank: number,
  random: RandomSource,
): LoraWeights {
  if (rank % 2 !== 0) {
    throw new ParameterError(
      "rank",
      (name) =>
        `${name("initLoraWeights", "orthogonal")} divides the rank by 2: ${name("rank")} of ` +
        `"${path}" must be even: current value is ${rank}`,
    );
  }
  const half = rank / 2;
  const normal = (rows: number, cols: number) =>
    matrixOf(rows, cols, Float64Array.from({ length: rows * cols }, () => gaussian(random)));
  const { q } = qr(normal(rank, rank));
  const rows = (first: number): Matrix =>
    matrixOf(
      half,
      rank,
      Float64Array.from(
        { length: half * rank },
        (_, i) => ORTHOGONAL_SIZE * q.values[(2 * Math.floor(i / rank) + first) * rank + i % rank],
      ),
    );
  const a = transposedProduct(rows(0), normal(half, columns));
  const b = transposed(transposedProduct(rows(1), normal(half, outFeatures)));
  return { a: float32([rank, columns], a.values), b: float32([outFeatures, rank], b.values) };
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

/** Values of virtual tokens [tokens, columns] from N(0, 1), PyTorch's and so PEFT's of an embedding. */
export function initVirtualTokens(config: VirtualTokensConfig, random: RandomSource): Tensor {
  return filled([config.numVirtualTokens, columnsOf(config)], () => gaussian(random));
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
export function gaussian(random: RandomSource): number {
  const radius = Math.sqrt(-2 * Math.log(uniform(random)));
  return radius * Math.cos(2 * Math.PI * uniform(random));
}
