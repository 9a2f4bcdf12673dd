import { assertAlmostEquals, assertEquals } from "@std/assert";
import { analyzeMatrix } from "../../src/analysis/analyze_matrix.ts";
import type { Matrix } from "../../src/linalg/matrix.ts";
import { leadingSvd } from "../../src/linalg/svd.ts";
import { Random } from "../../src/random.ts";
import { randomMatrix } from "../helpers/matrices.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { runPython } from "../helpers/run_python.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const NUMPY = `
import json, sys
import numpy as np
given = json.load(open(sys.argv[1]))
matrix = lambda m: np.array(m["values"]).reshape(m["rows"], m["cols"])
w = matrix(given["w"]).astype(np.float32).astype(np.float64)
a1, b1, a2, b2 = (matrix(given[name]) for name in ["a1", "b1", "a2", "b2"])
d1, d2 = 2.0 * b1 @ a1, 0.5 * b2 @ a2
u, s, vt = np.linalg.svd(d1)
r = a1.shape[0]
top = lambda u, v: float(np.linalg.norm(u[:, :r].T @ w @ v[:r].T))
wu, ws, wv = np.linalg.svd(w)
right = lambda a: np.linalg.svd(a, full_matrices=False)[2].T
left = lambda b: np.linalg.svd(b, full_matrices=False)[0]
phi = lambda x, y: [[float(np.linalg.norm(x[:, :i].T @ y[:, :j]) ** 2 / min(i, j))
    for j in range(1, y.shape[1] + 1)] for i in range(1, x.shape[1] + 1)]
print(json.dumps({
    "w": ws.tolist(), "update": s[:r].tolist(), "merged": np.linalg.svd(w + d1)[1].tolist(),
    "ranks": [int(np.linalg.matrix_rank(m.astype(np.float32))) for m in (w, d1, w + d1)],
    "of_update": top(u, vt), "of_weight": top(wu, wv),
    "inputs": phi(right(a1), right(a2)), "outputs": phi(left(b1), left(b2)),
    "cosine": float((d1 * d2).sum() / np.linalg.norm(d1) / np.linalg.norm(d2)),
    "conflicts": float((d1 * d2 < 0).mean()), "sum": float(np.linalg.norm(d1 + d2)),
}))
`;

testWithPython(
  ["numpy"],
  "analyzeMatrix() and leadingSvd() find what numpy finds",
  () =>
    inTempDir(async (folder) => {
      const [rows, cols] = [60, 44];
      const w = randomMatrix(rows, cols, 1);
      const [a1, b1] = [randomMatrix(4, cols, 2), randomMatrix(rows, 4, 3)];
      const [a2, b2] = [randomMatrix(9, cols, 4), randomMatrix(rows, 9, 5)];
      const path = `${folder}/given.json`;
      const plain = (m: Matrix) => ({ ...m, values: [...m.values] });
      const given = { w, a1, b1, a2, b2 };
      Deno.writeTextFileSync(
        path,
        JSON.stringify(Object.fromEntries(Object.entries(given).map(([k, m]) => [k, plain(m)]))),
      );
      const numpy = JSON.parse(await runPython(NUMPY, [path]));
      const { spectrum, updates: [update], pair } = analyzeMatrix(
        { rows, cols, values: Float32Array.from(w.values) },
        [{ a: a1, b: b1, scale: 2 }, { a: a2, b: b2, scale: 0.5 }],
        { spectra: true, random: Random.fromSeed(1) },
      );
      const near = (found: readonly number[], expected: readonly number[], what: string) => {
        assertEquals(found.length, expected.length, what);
        found.forEach((value, i) => assertAlmostEquals(value, expected[i], 1e-9, what));
      };
      near(spectrum!.singularValues, numpy.w, "W");
      near(update!.spectrum.singularValues, numpy.update, "ΔW");
      near(update!.merged!.singularValues, numpy.merged, "W'");
      assertEquals([spectrum!.rank, update!.spectrum.rank, update!.merged!.rank], numpy.ranks);
      near([update!.directions!.ofUpdate], [numpy.of_update], "UᵀWVᵀ of ΔW");
      near([update!.directions!.ofWeight!], [numpy.of_weight], "UᵀWVᵀ of W");
      near(pair!.inputs.flat(), numpy.inputs.flat(), "φ of A");
      near(pair!.outputs.flat(), numpy.outputs.flat(), "φ of B");
      near(
        [pair!.cosine!, pair!.signConflicts!, pair!.sumNorm],
        [numpy.cosine, numpy.conflicts, numpy.sum],
        "comparison",
      );
      const singles = { ...w, values: w.values.map(Math.fround) };
      near([...leadingSvd(singles, 5).s], numpy.w, "leadingSvd()");
    }),
);
