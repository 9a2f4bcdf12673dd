import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { ParameterError } from "../../src/errors.ts";
import { type Matrix, matrixOf, product } from "../../src/linalg/matrix.ts";
import { checkCombination, type Combination } from "../../src/lora/compose/combination.ts";
import { combineModule, type WeightedUpdate } from "../../src/lora/compose/combine_module.ts";
import { combineTensors } from "../../src/lora/compose/combine_tensors.ts";
import { prunedAtRandom, prunedByMagnitude } from "../../src/lora/compose/prune.ts";
import { rankShares } from "../../src/lora/compose/rank_shares.ts";
import { Random } from "../../src/random.ts";
import { distance, randomMatrix } from "../helpers/matrices.ts";

const SETTINGS = { majoritySignMethod: "total", seed: 0 } as const;
const options = (density?: number, seed = 0) => ({
  density,
  majoritySignMethod: "total" as const,
  random: Random.fromSeed(seed),
});

const update = (seed: number, weight: number, rank = 3, scale = 2): WeightedUpdate => ({
  a: randomMatrix(rank, 9, seed),
  b: randomMatrix(7, rank, seed + 100),
  scale,
  weight,
});

function combined(
  updates: readonly WeightedUpdate[],
  type: Combination["type"],
  rank = 99,
  density?: number,
) {
  return combineModule(updates, { ...SETTINGS, type }, rank, options(density));
}

/** Σ weight·scale·B·A. */
function sum(updates: readonly WeightedUpdate[]): Matrix {
  const out = matrixOf(7, 9);
  for (const { a, b, scale, weight } of updates) {
    product(b, a).values.forEach((value, i) => out.values[i] += weight * scale * value);
  }
  return out;
}

const whole = ({ a, b }: { a: Matrix; b: Matrix }) => product(b, a);

for (const type of ["cat", "svd"] as const) {
  Deno.test(`combineModule() ${type} is the weighted sum, and a + b − b is a`, () => {
    const updates = [update(1, 1), update(2, -0.5, 2, 0.25), update(3, 2, 1)];
    assert(distance(whole(combined(updates, type)), sum(updates)) < 1e-14);
    const [a, b] = [update(1, 1), update(2, 1)];
    const back = whole(combined([a, b, { ...b, weight: -1 }], type));
    assert(distance(back, sum([a])) < 1e-14);
  });
}

Deno.test("combineModule() cat with powers of two as factors is the sum bit for bit", () => {
  const integers = (rows: number, cols: number, seed: number) => {
    const { values } = randomMatrix(rows, cols, seed);
    return matrixOf(rows, cols, values.map((value) => Math.round(value * 64)));
  };
  const updates = [1, 2].map((seed) => ({
    a: integers(3, 9, seed),
    b: integers(7, 3, seed + 9),
    scale: 2,
    weight: seed === 1 ? 1 : -0.5,
  }));
  assertEquals(whole(combined(updates, "cat")), sum(updates));
});

Deno.test("combineModule() svd finds the rank of a sum, and a subtracted adapter leaves nothing", () => {
  const a = update(1, 1);
  const { singularValues } = combined([a, { ...a, weight: -1 }], "svd");
  assert(Math.max(...singularValues!) < 1e-15);
  const small = combined([a, update(2, 1, 2)], "svd", 2);
  assertEquals([small.a.rows, small.b.cols], [2, 2]);
  // What is left out are the other singular values (Eckart and Young).
  const rest = sum([a, update(2, 1, 2)]).values.map((value, i) => value - whole(small).values[i]);
  const left = Math.sqrt(small.singularValues!.slice(2).reduce((total, s) => total + s * s, 0));
  assertAlmostEquals(Math.hypot(...rest), left, 1e-13);
});

Deno.test("combineModule() linear sums A and B with roots of the factors, the sign in A", () => {
  const [a, b] = [update(1, 1, 3, 4), update(2, -1, 3, 9)];
  const found = combined([a, b], "linear");
  assertAlmostEquals(found.a.values[0], 2 * a.a.values[0] - 3 * b.a.values[0], 1e-15);
  assertAlmostEquals(found.b.values[0], 2 * a.b.values[0] + 3 * b.b.values[0], 1e-15);
  // Alone, an adapter keeps its update; negated, it has the opposite one.
  assert(distance(whole(combined([b], "linear")), sum([b])) < 1e-14);
  assertThrows(() => combined([a, update(2, 1, 2)], "linear"), RangeError, "ranks differ: 3, 2");
});

Deno.test("combineModule() of a pruning type with density 1 is that without pruning", () => {
  const updates = [update(1, 1), update(2, 0.5)];
  const linear = whole(combined(updates, "linear"));
  for (const type of ["dare_linear", "magnitude_prune"] as const) {
    assertEquals(whole(combined(updates, type, 99, 1)), linear);
  }
  for (const type of ["dare_linear_svd", "magnitude_prune_svd"] as const) {
    assert(distance(whole(combined(updates, type, 99, 1)), sum(updates)) < 1e-13);
  }
});

Deno.test("combineTensors() ties averages the values of the elected sign", () => {
  const tensors = [[4, -1, 3, 0], [2, 3, -3, 0], [-1, -1, 0, 0]].map((t) => Float64Array.from(t));
  const ties = (
    majoritySignMethod: "total" | "frequency",
  ) => [...combineTensors("ties", tensors, [1, 2, 1], { ...options(1), majoritySignMethod })];
  assertEquals(ties("total"), [(4 + 2 * 2) / 2, 2 * 3, 3, 0]);
  // Two of three are negative in the second element.
  assertEquals(ties("frequency"), [4, -1, 3, 0]);
});

Deno.test("prunedByMagnitude() keeps the share of the largest, the first of equal ones", () => {
  const prune = (values: number[], density: number) => [
    ...prunedByMagnitude(Float64Array.from(values), density),
  ];
  assertEquals(prune([1, -5, 3, 2], 0.5), [0, -5, 3, 0]);
  assertEquals(prune([2, -2, 2, 1], 0.5), [2, -2, 0, 0]);
  assertEquals(prune([1, 2, 3], 0.3), [0, 0, 0]);
  assertEquals(prune([1, 2, 3], 1), [1, 2, 3]);
});

Deno.test("prunedAtRandom() keeps the expected value, and is the same for the same seed", () => {
  const ones = new Float64Array(10_000).fill(1);
  const pruned = prunedAtRandom(ones, 0.25, Random.fromSeed(7));
  assertEquals([...new Set(pruned)].sort(), [0, 4]);
  assertAlmostEquals(pruned.reduce((a, b) => a + b) / ones.length, 1, 0.05);
  assertEquals(prunedAtRandom(ones, 0.25, Random.fromSeed(7)), pruned);
});

Deno.test("rankShares() has powers of two, the chosen rank and the one that keeps everything", () => {
  const spectra = new Map([
    ["q", Float64Array.of(4, 3, 0, 0)],
    ["v", Float64Array.of(0, 0, 0, 0)],
    ["k", Float64Array.of(2, 2, 2, 2, 2)],
  ]);
  const shares = rankShares(spectra, 3);
  assertEquals(shares.map(({ rank }) => rank), [1, 2, 3, 4, 5]);
  assertAlmostEquals(shares[1].share, Math.sqrt((25 + 8) / 45), 1e-15);
  assertEquals([shares[1].least, shares[1].leastModule], [Math.sqrt(8 / 20), "k"]);
  assertEquals(shares.at(-1)!.share, 1);
});

Deno.test("checkCombination() refuses settings that a type does not have", () => {
  const check = (type: Combination["type"], more: Partial<Combination>, says: string) =>
    assertThrows(() => checkCombination({ ...SETTINGS, type, ...more }), ParameterError, says);
  check("cat", { rank: 4 }, "end in svd");
  check("ties", {}, "density is missing");
  check("svd", { density: 0.5 }, "density is for ties");
  check("dare_linear", { density: 0 }, "current value is 0");
  checkCombination({ ...SETTINGS, type: "dare_ties_svd", density: 1, rank: 2 });
});
