import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { analyzeMatrix } from "../../src/analysis/analyze_matrix.ts";
import { compareUpdates } from "../../src/analysis/compare_updates.ts";
import { normInDirections, randomDirections } from "../../src/analysis/directions.ts";
import { layerDrift } from "../../src/analysis/layer_drift.ts";
import { type LowRankUpdate, svdOfUpdate } from "../../src/analysis/low_rank_update.ts";
import { overlapOf, subspaceSimilarity } from "../../src/analysis/subspaces.ts";
import {
  firstColumns,
  frobenius,
  type Matrix,
  matrixOf,
  product,
  transposed,
} from "../../src/linalg/matrix.ts";
import { singularValues } from "../../src/linalg/singular_values.ts";
import { svd } from "../../src/linalg/svd.ts";
import { Random } from "../../src/random.ts";
import { fromSvd, orthonormal, randomMatrix } from "../helpers/matrices.ts";

const update = (seed: number, rank = 3, rows = 12, cols = 10): LowRankUpdate => ({
  a: randomMatrix(rank, cols, seed),
  b: randomMatrix(rows, rank, seed + 50),
  scale: 1.5,
});
const whole = ({ a, b, scale }: LowRankUpdate): Matrix => {
  const out = product(b, a);
  return { ...out, values: out.values.map((value) => scale * value) };
};
const asWeight = ({ rows, cols, values }: Matrix) => ({
  rows,
  cols,
  values: Float32Array.from(values),
});
const columns = (m: Matrix, from: number, to: number): Matrix =>
  transposed(matrixOf(to - from, m.rows, transposed(m).values.slice(from * m.rows, to * m.rows)));

Deno.test("subspaceSimilarity() is 1 for equal subspaces and for one inside the other, 0 for orthogonal ones", () => {
  const u = orthonormal(20, 8, 1);
  for (const [i, row] of subspaceSimilarity(u, u).entries()) {
    row.forEach((value, j) => assertAlmostEquals(value, 1, 1e-13, `φ(${i + 1}, ${j + 1})`));
  }
  // Other vectors of the same space: only the whole spaces are equal.
  const turned = product(u, orthonormal(8, 8, 2));
  const similarity = subspaceSimilarity(u, turned);
  assertAlmostEquals(overlapOf(similarity)!, 1, 1e-13);
  assert(similarity[0][0] < 0.99);
  assertAlmostEquals(overlapOf(subspaceSimilarity(columns(u, 0, 3), turned))!, 1, 1e-13);
  for (const row of subspaceSimilarity(columns(u, 0, 4), columns(u, 4, 8))) {
    for (const value of row) assertAlmostEquals(value, 0, 1e-13);
  }
});

Deno.test("subspaceSimilarity() lies in [0, 1] and is that of the other order, transposed", () => {
  const [u1, u2] = [orthonormal(15, 4, 3), orthonormal(15, 7, 4)];
  const [one, other] = [subspaceSimilarity(u1, u2), subspaceSimilarity(u2, u1)];
  assertEquals([one.length, one[0].length], [4, 7]);
  one.forEach((row, i) =>
    row.forEach((value, j) => {
      assert(value >= 0 && value <= 1 + 1e-13);
      assertAlmostEquals(value, other[j][i], 1e-14);
    })
  );
  assertEquals(overlapOf([]), undefined);
});

Deno.test("svdOfUpdate() has the singular values of ΔW, whatever the sign of its scale", () => {
  for (const scale of [1.5, -2]) {
    const given = { ...update(1), scale };
    const found = svdOfUpdate(given);
    const expected = svd(whole(given));
    for (let i = 0; i < 3; i++) assertAlmostEquals(found.s[i], expected.s[i], 1e-14);
    const back = fromSvd(found).values;
    whole(given).values.forEach((value, i) => assertAlmostEquals(back[i], value, 1e-13));
  }
});

Deno.test("analyzeMatrix() finds the amplification of a constructed case", () => {
  // W has the singular values 8, 4, 2, 1; ΔW takes W's weakest direction with the value 20.
  const [u, v] = [orthonormal(12, 4, 5), orthonormal(10, 4, 6)];
  const w = fromSvd({ u, s: [8, 4, 2, 1], v });
  const [b, a] = [columns(u, 3, 4), transposed(columns(v, 3, 4))];
  const { spectrum, norm, updates: [found] } = analyzeMatrix(
    asWeight(w),
    [{ a, b, scale: 20 }],
    { spectra: true, random: Random.fromSeed(1) },
  );
  assertAlmostEquals(norm, Math.sqrt(85), 1e-5);
  assertEquals(spectrum?.rank, 4);
  assertAlmostEquals(found!.norm, 20, 1e-12);
  assertAlmostEquals(found!.drift, 20 / Math.sqrt(85), 1e-6);
  assertEquals(found!.directions?.count, 1);
  assertAlmostEquals(found!.directions!.ofUpdate, 1, 1e-5);
  assertAlmostEquals(found!.directions!.ofWeight!, 8, 1e-5);
  assertAlmostEquals(found!.directions!.amplification!, 20, 1e-3);
  // W' has 21 where W has 1.
  assertAlmostEquals(found!.merged!.singularValues[0], 21, 1e-5);
  assertEquals(found!.merged!.rank, 4);
});

Deno.test("analyzeMatrix() of an update of zero, of a zero weight, and without spectra", () => {
  const options = { spectra: false, random: Random.fromSeed(1) };
  const zero = { a: randomMatrix(2, 10, 1), b: matrixOf(12, 2), scale: 1 };
  const { updates: [none] } = analyzeMatrix(asWeight(randomMatrix(12, 10, 2)), [zero], options);
  assertEquals([none!.norm, none!.drift, none!.spectrum.rank], [0, 0, 0]);
  assertEquals([none!.directions, none!.merged], [null, null]);
  const figures = analyzeMatrix(asWeight(matrixOf(12, 10)), [update(1), undefined], options);
  assertEquals([figures.norm, figures.spectrum, figures.pair], [0, null, null]);
  assertEquals(figures.updates[0]!.drift, 0);
  assertEquals(figures.updates[0]!.directions!.amplification, null);
  assertEquals(figures.updates[1], null);
});

Deno.test("compareUpdates() of equal, opposite, orthogonal and any updates", () => {
  const one = update(1);
  const same = compareUpdates(one, one);
  assertAlmostEquals(same.cosine!, 1, 1e-14);
  assertEquals(same.signConflicts, 0);
  assertAlmostEquals(same.sumNorm, same.alignedNorm, 1e-13);
  const opposite = compareUpdates(one, { ...one, scale: -1.5 });
  assertAlmostEquals(opposite.cosine!, -1, 1e-14);
  assertEquals([opposite.signConflicts, opposite.sumNorm], [1, 0]);
  const u = orthonormal(12, 2, 1);
  const [b1, b2] = [columns(u, 0, 1), columns(u, 1, 2)];
  const a = randomMatrix(1, 10, 2);
  const orthogonal = compareUpdates({ a, b: b1, scale: 1 }, { a, b: b2, scale: 1 });
  assertAlmostEquals(orthogonal.cosine!, 0, 1e-14);
  assertAlmostEquals(orthogonal.sumNorm, orthogonal.orthogonalNorm, 1e-14);
  const other = update(2, 2);
  const [x, y] = [whole(one).values, whole(other).values];
  const found = compareUpdates(one, other);
  assertAlmostEquals(found.sumNorm, frobenius(x.map((value, i) => value + y[i])), 1e-13);
  const conflicts = x.filter((value, i) => value * y[i] < 0).length;
  assertEquals(found.signConflicts, conflicts / x.length);
  const zero = { ...one, scale: 0 };
  assertEquals(compareUpdates(one, zero).cosine, null);
  assertEquals(compareUpdates(one, zero).signConflicts, null);
});

Deno.test("normInDirections() of all directions is the norm; randomDirections() are orthonormal", () => {
  const w = randomMatrix(6, 5, 1);
  const [u, v] = [
    randomDirections(6, 6, Random.fromSeed(1)),
    randomDirections(5, 5, Random.fromSeed(2)),
  ];
  assertAlmostEquals(normInDirections(asWeight(w), u, v), frobenius(w.values), 1e-6);
  const few = randomDirections(400, 1, Random.fromSeed(3));
  assertAlmostEquals(frobenius(few.values), 1, 1e-14);
  const gram = product(transposed(firstColumns(u, 3)), firstColumns(u, 3));
  gram.values.forEach((value, i) => assertAlmostEquals(value, +(i % 4 === 0), 1e-14));
});

Deno.test("singularValues() of both orientations are those of svd()", () => {
  for (const [rows, cols] of [[9, 5], [5, 9], [1, 3]]) {
    const m = randomMatrix(rows, cols, rows);
    const found = singularValues(m.values, rows, cols);
    svd(m).s.forEach((value, i) => assertAlmostEquals(found[i], value, 1e-12));
  }
});

Deno.test("layerDrift() puts the matrices of a layer together, those without a number last", () => {
  const matrix = (layer: number | null, norm: number, ...norms: (number | null)[]) => ({
    path: "m",
    layer,
    rows: 1,
    cols: 1,
    norm,
    spectrum: null,
    updates: norms.map((of) => of === null ? null : { norm: of } as never),
    pair: null,
  });
  const drift = layerDrift([matrix(null, 2, 1), matrix(1, 3, 3), matrix(1, 4, null)], 1);
  assertEquals(drift, [{ layer: 1, drift: [3 / 5] }, { layer: null, drift: [1 / 2] }]);
});
