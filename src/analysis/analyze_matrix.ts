/** Analyses one matrix and what adapters change in it. */
import { firstColumns, frobenius, type Matrix, transposed } from "../linalg/matrix.ts";
import { numericalRank } from "../linalg/numerical_rank.ts";
import { singularValues } from "../linalg/singular_values.ts";
import { tallSvd } from "../linalg/svd.ts";
import type { Random } from "../random.ts";
import type { MatrixAnalysis, PairAnalysis, Spectrum, UpdateAnalysis } from "./analysis.ts";
import { compareUpdates } from "./compare_updates.ts";
import { normInDirections, randomDirections, type Weight } from "./directions.ts";
import { type LowRankUpdate, rowOfUpdate, svdOfUpdate } from "./low_rank_update.ts";
import { subspaceSimilarity } from "./subspaces.ts";

/** What is measured of a matrix. */
export interface MatrixOptions {
  /** Whether to compute the singular values of W and W', which takes most of the time. */
  readonly spectra: boolean;
  /** Of the random directions. */
  readonly random: Random;
}

/**
 * Measures a weight and its updates.
 *
 * @param weight W, dequantised
 * @param updates one for each adapter, `undefined` where it has none; of the weight's size
 */
export function analyzeMatrix(
  weight: Weight,
  updates: readonly (LowRankUpdate | undefined)[],
  options: MatrixOptions,
): Omit<MatrixAnalysis, "path" | "layer"> {
  const { rows, cols, values } = weight;
  const norm = frobenius(values);
  const spectrum = options.spectra ? spectrumOf(values, rows, cols) : null;
  const [one, other] = updates;
  return {
    rows,
    cols,
    norm,
    spectrum,
    updates: updates.map((update) =>
      update === undefined ? null : analyzeUpdate(weight, norm, spectrum, update, options)
    ),
    pair: one === undefined || other === undefined ? null : pairOf(one, other),
  };
}

function spectrumOf(values: Float32Array | Float64Array, rows: number, cols: number): Spectrum {
  return summary(singularValues(values, rows, cols), rows, cols);
}

const summary = (s: Float64Array, rows: number, cols: number): Spectrum => ({
  rank: numericalRank(s, rows, cols),
  singularValues: [...s],
});

function analyzeUpdate(
  weight: Weight,
  norm: number,
  ofWeight: Spectrum | null,
  update: LowRankUpdate,
  { spectra, random }: MatrixOptions,
): UpdateAnalysis {
  const { rows, cols } = weight;
  const { u, s, v } = svdOfUpdate(update);
  const spectrum = summary(s, rows, cols);
  const count = spectrum.rank;
  const updateNorm = frobenius(s);
  const inOwn = normInDirections(weight, firstColumns(u, count), firstColumns(v, count));
  const merged = spectra ? mergedValues(weight, update) : undefined;
  return {
    rank: update.a.rows,
    scale: update.scale,
    norm: updateNorm,
    drift: norm === 0 ? 0 : updateNorm / norm,
    spectrum,
    merged: merged === undefined
      ? null
      : { norm: frobenius(merged), ...spectrumOf(merged, rows, cols) },
    directions: count === 0 ? null : {
      count,
      ofUpdate: inOwn,
      // Between W's own top vectors lie its top singular values.
      ofWeight: ofWeight === null ? null : frobenius(ofWeight.singularValues.slice(0, count)),
      ofRandom: normInDirections(
        weight,
        randomDirections(rows, count, random),
        randomDirections(cols, count, random),
      ),
      amplification: inOwn === 0 ? null : updateNorm / inOwn,
    },
  };
}

/** W + ΔW, row-major. */
function mergedValues({ rows, cols, values }: Weight, update: LowRankUpdate): Float64Array {
  const out = new Float64Array(rows * cols);
  for (let n = 0; n < rows; n++) {
    const row = out.subarray(n * cols, (n + 1) * cols);
    rowOfUpdate(update, n, row);
    for (let k = 0; k < cols; k++) row[k] += values[n * cols + k];
  }
  return out;
}

function pairOf(one: LowRankUpdate, other: LowRankUpdate): PairAnalysis {
  return {
    ...compareUpdates(one, other),
    inputs: subspaceSimilarity(inputVectors(one), inputVectors(other)),
    outputs: subspaceSimilarity(outputVectors(one), outputVectors(other)),
  };
}

/** Right singular vectors of A, or left ones of B, that are more than rounding errors; as columns. */
const inputVectors = ({ a }: LowRankUpdate) => leftVectors(transposed(a));
const outputVectors = ({ b }: LowRankUpdate) => leftVectors(b);

function leftVectors(m: Matrix): Matrix {
  const { u, s } = tallSvd(m);
  return firstColumns(u, numericalRank(s, m.rows, m.cols));
}
