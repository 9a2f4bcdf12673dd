/** Initial matrices of adapters from factors of the weights beside them. */
import { ParameterError } from "../errors.ts";
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import { firstColumns, type Matrix, matrixOf, transposedProduct } from "../linalg/matrix.ts";
import { qr } from "../linalg/qr.ts";
import { randomizedSvd } from "../linalg/randomized_svd.ts";
import { leadingSvd, type Svd, svd } from "../linalg/svd.ts";
import { gaussian, type RandomSource } from "./init.ts";
import type { LoraWeights } from "./lora_weights.ts";
import type { LoraSite } from "./targets.ts";

/** The smaller side up to which a matrix is decomposed exactly in no time. */
export const EXACT_SIDE = 64;

/**
 * B·A with scale·B·A the best approximation of a matrix by the site's rank: √σ of each singular vector is in
 * A and in B. Of a weight, this is the start of PiSSA (Meng et al., "PiSSA: Principal Singular Values and
 * Singular Vectors Adaptation of Large Language Models", 2024); of a quantisation's error, that of LoftQ (Li
 * et al., "LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models", 2023).
 *
 * @param matrix float32 [out, in]
 * @param iterations power iterations that approximate the singular vectors; absent: exact ones
 * @throws {ParameterError} if the rank is larger than a side of the matrix
 */
export function principalFactors(
  site: LoraSite,
  matrix: Tensor,
  random: RandomSource,
  iterations?: number,
): LoraWeights {
  const { rank, scale } = site;
  checkRank(site);
  const { u, s, v } = leading(matrixFrom(matrix), rank, iterations, random);
  const roots = Array.from({ length: rank }, (_, r) => Math.sqrt(s[r] / scale));
  return factorsOf(
    { ...u, values: u.values.map((value, i) => value * roots[i % rank]) },
    { ...v, values: v.values.map((value, i) => value * roots[i % rank]) },
  );
}

/**
 * The first columns of Q and rows of R for W = Q·R: the start of OLoRA (Büyükakyüz, "OLoRA: Orthonormal
 * Low-Rank Adaptation of Large Language Models", 2024).
 *
 * @param weight float32 [out, in]
 * @throws {ParameterError} if the rank is larger than a side of the weight
 */
export function orthonormalFactors(site: LoraSite, weight: Tensor): LoraWeights {
  checkRank(site);
  const w = matrixFrom(weight);
  // Later columns change neither the first ones of Q nor, as R = Qᵀ·W, the first rows of R.
  const { q } = qr(firstColumns(w, site.rank));
  return factorsOf(q, transposedProduct(w, q));
}

function leading(
  m: Matrix,
  rank: number,
  iterations: number | undefined,
  random: RandomSource,
): Svd {
  if (iterations !== undefined) {
    return randomizedSvd(m, rank, iterations, () => gaussian(random));
  }
  if (Math.min(m.rows, m.cols) > EXACT_SIDE) return leadingSvd(m, rank);
  const { u, s, v } = svd(m);
  return { u: firstColumns(u, rank), s, v: firstColumns(v, rank) };
}

/** @param b [out, rank] and @param aT [in, rank] */
function factorsOf(b: Matrix, aT: Matrix): LoraWeights {
  const a = new Float32Array(aT.rows * aT.cols);
  for (let i = 0; i < aT.rows; i++) {
    for (let r = 0; r < aT.cols; r++) a[r * aT.rows + i] = aT.values[i * aT.cols + r];
  }
  return { a: float32([aT.cols, aT.rows], a), b: float32([b.rows, b.cols], b.values) };
}

function matrixFrom(matrix: Tensor): Matrix {
  return matrixOf(matrix.dims[0], matrix.dims[1], toNumbers(matrix));
}

function checkRank({ module: { path, inFeatures, outFeatures }, rank }: LoraSite): void {
  const most = Math.min(inFeatures, outFeatures);
  if (rank <= most) return;
  throw new ParameterError(
    "rank",
    (name) =>
      `"${path}" is [${outFeatures}, ${inFeatures}] and has factors of rank ${most} at most: ` +
      `${name("rank")} is ${rank} there, which only ${
        name("initLoraWeights", "kaiming")
      } can start`,
  );
}
