/** Analyses of random matrices, for what shows them. */
import type { Analysis } from "../../src/analysis/analysis.ts";
import { analyzeMatrix } from "../../src/analysis/analyze_matrix.ts";
import { layerDrift } from "../../src/analysis/layer_drift.ts";
import { matrixOf } from "../../src/linalg/matrix.ts";
import { Random } from "../../src/random.ts";
import { randomMatrix } from "./matrices.ts";

/** A name that means something in HTML. */
export const HOSTILE = 'x"><script>alert(1)</script>&.q_proj';

/** The first adapter has rank 2 and a B of zero for the second matrix, the second has rank 3. */
export function analysisOf(adapters: readonly string[], paths: readonly string[]): Analysis {
  const random = Random.fromSeed(1);
  const matrices = paths.map((path, m) => ({
    path,
    layer: m,
    ...analyzeMatrix(
      { rows: 9, cols: 7, values: Float32Array.from(randomMatrix(9, 7, m).values) },
      adapters.map((_, i) => ({
        a: randomMatrix(2 + i, 7, i + m),
        b: i === 0 && m === 1 ? matrixOf(9, 2) : randomMatrix(9, 2 + i, i + m + 9),
        scale: 2,
      })),
      { spectra: true, random },
    ),
  }));
  return {
    model: "base & co",
    adapters: adapters.map((path, i) => ({
      path,
      rank: 2 + i,
      steps: i === 0
        ? [{ step: 4, drift: 0.01, layers: [0.0123] }, { step: 8, drift: 0.02, layers: [0.0456] }]
        : [],
    })),
    matrices,
    layers: layerDrift(matrices, adapters.length),
  };
}
