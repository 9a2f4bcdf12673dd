import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { ParameterError } from "../../src/errors.ts";
import { float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import { frobenius, type Matrix, matrixOf, product, transposed } from "../../src/linalg/matrix.ts";
import { svd } from "../../src/linalg/svd.ts";
import { loraScale } from "../../src/lora/config.ts";
import { gradientProjection } from "../../src/lora/gradient_projection.ts";
import { initAdapter } from "../../src/lora/init.ts";
import {
  besideFrozen,
  besideInitial,
  configBesideInitial,
} from "../../src/lora/initial_product.ts";
import type { LoraWeights } from "../../src/lora/lora_weights.ts";
import type { PeftConfig } from "../../src/lora/peft_config.ts";
import { parseLoraStart } from "../../src/lora/start.ts";
import { orthonormalFactors, principalFactors } from "../../src/lora/start_from_weight.ts";
import type { LoraSite } from "../../src/lora/targets.ts";
import { Random } from "../../src/random.ts";
import { distance, randomMatrix } from "../helpers/matrices.ts";

/** A layer [out, in] with an adapter of this rank at the scale 3. */
function siteOf(outFeatures: number, inFeatures: number, rank: number): LoraSite {
  const module = { path: "fc", outFeatures, inFeatures } as LoraSite["module"];
  return { module, rank, alpha: 3 * rank, scale: 3, dropout: 0 };
}

const matrix = ({ dims, ...tensor }: Tensor) =>
  matrixOf(dims[0], dims[1], toNumbers({ dims, ...tensor }));
const updateOf = ({ a, b }: LoraWeights) => product(matrix(b), matrix(a));
const times = (m: Matrix, factor: number) => ({ ...m, values: m.values.map((x) => factor * x) });

Deno.test("principalFactors() multiply to the nearest matrix of the rank, with equal norms in A and B", () => {
  for (const [rows, cols] of [[20, 9], [9, 20], [70, 90]]) {
    const values = randomMatrix(rows, cols, rows);
    const weight = float32([rows, cols], values.values);
    const pair = principalFactors(siteOf(rows, cols, 4), weight, Random.fromSeed(1));
    assertEquals([pair.a.dims, pair.b.dims], [[4, cols], [rows, 4]]);
    const { u, s, v } = svd(values);
    const best = matrixOf(rows, cols);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < cols; j++) {
        for (let r = 0; r < 4; r++) {
          best.values[i * cols + j] += u.values[i * u.cols + r] * s[r] * v.values[j * v.cols + r];
        }
      }
    }
    assert(distance(times(updateOf(pair), 3), best) < 1e-4);
    const [a, b] = [pair.a, pair.b].map((t) => Math.hypot(...Array.from(toNumbers(t))));
    assertAlmostEquals(a, b, 1e-5);
  }
});

Deno.test("principalFactors() come near the exact ones in a few power iterations", () => {
  const weight = float32([80, 70], randomMatrix(80, 70, 2).values);
  const site = siteOf(80, 70, 3);
  const errorOf = (iterations?: number) => {
    const update = updateOf(principalFactors(site, weight, Random.fromSeed(1), iterations));
    const left = times(update, 3).values.map((value, i) => value - matrix(weight).values[i]);
    return frobenius(left);
  };
  assert(errorOf(8) < 1.001 * errorOf());
  assert(errorOf(0) > errorOf(8));
});

Deno.test("orthonormalFactors() have orthonormal columns in B, and B·A is their part of the weight", () => {
  const weight = float32([12, 7], randomMatrix(12, 7, 3).values);
  const pair = orthonormalFactors(siteOf(12, 7, 3), weight);
  const q = matrix(pair.b);
  for (const [i, j] of [[0, 0], [1, 1], [0, 1], [0, 2]]) {
    let sum = 0;
    for (let row = 0; row < 12; row++) sum += q.values[row * 3 + i] * q.values[row * 3 + j];
    assertAlmostEquals(sum, +(i === j), 1e-6);
  }
  // W = Q·R, so that the first columns of W are those of the first columns of Q alone.
  const update = updateOf(pair);
  for (let row = 0; row < 12; row++) {
    for (let column = 0; column < 3; column++) {
      assertAlmostEquals(
        update.values[row * 7 + column],
        matrix(weight).values[row * 7 + column],
        1e-5,
      );
    }
  }
});

Deno.test("starts from a weight refuse a rank that it has not, naming the layer", () => {
  const weight = float32([3, 5], new Float32Array(15));
  for (
    const start of [
      () => principalFactors(siteOf(3, 5, 4), weight, Random.fromSeed(1)),
      () => orthonormalFactors(siteOf(3, 5, 4), weight),
    ]
  ) assertThrows(start, ParameterError, '"fc" is [3, 5] and has factors of rank 3 at most');
});

Deno.test('initAdapter() "orthogonal" starts with A and B whose product is zero, and needs an even rank', () => {
  const start = (rank: number) =>
    initAdapter([siteOf(11, 6, rank)], "orthogonal", Random.fromSeed(1)).get("fc")!;
  const pair = start(4);
  assertEquals([pair.a.dims, pair.b.dims], [[4, 6], [11, 4]]);
  for (const part of [pair.a, pair.b]) {
    const norm = Math.hypot(...Array.from(toNumbers(part)));
    assert(norm > 0.2 && norm < 2, `norm is ${norm}`);
  }
  for (const value of updateOf(pair).values) assertAlmostEquals(value, 0, 1e-7);
  assertThrows(() => start(3), ParameterError, 'rank of "fc" must be even: current value is 3');
});

Deno.test("gradientProjection() inverts scale²·A·Aᵀ where A has directions, and is zero elsewhere", () => {
  const a = randomMatrix(3, 8, 4);
  a.values.copyWithin(16, 8, 16); // the third row is the second
  const projection = matrix(gradientProjection(float32([3, 8], a.values), 0.5));
  const gram = product(a, transposed(a));
  // P·G·P = P for a pseudo-inverse P of G.
  const again = product(product(projection, times(gram, 0.25)), projection);
  assert(distance(again, projection) < 1e-4 * frobenius(projection.values));
  const full = randomMatrix(3, 8, 5);
  const inverse = matrix(gradientProjection(float32([3, 8], full.values), 2));
  const identity = product(inverse, times(product(full, transposed(full)), 4));
  identity.values.forEach((value, i) => assertAlmostEquals(value, +(i % 4 === 0), 1e-4));
});

Deno.test("parseLoraStart() reads PEFT's words, and names the others", () => {
  assertEquals(parseLoraStart("gaussian"), { from: "random", init: "gaussian" });
  assertEquals(parseLoraStart("pissa_niter_16"), { from: "pissa", iterations: 16 });
  assertEquals(parseLoraStart("olora"), { from: "olora" });
  for (const text of ["pissa_niter_", "pissa_niter_1e9", "pissa_niter_1001", "PiSSA", "toString"]) {
    assertThrows(() => parseLoraStart(text), ParameterError, `current value is "${text}"`);
  }
});

Deno.test("besideInitial() and its configuration describe the update less the initial one", () => {
  const pair = (seed: number): LoraWeights => ({
    a: float32([2, 5], randomMatrix(2, 5, seed).values),
    b: float32([4, 2], randomMatrix(4, 2, seed + 1).values),
  });
  const [now, before] = [pair(1), pair(5)];
  const joined = updateOf(besideInitial(now, before));
  const [after, initial] = [updateOf(now), updateOf(before)];
  joined.values.forEach((value, i) =>
    assertAlmostEquals(value, after.values[i] - initial.values[i], 1e-6)
  );
  // A checkpoint has the trained part alone.
  const saved = besideInitial(now, before);
  assertEquals(besideFrozen(now, saved), saved);
  assertEquals(besideFrozen({ b: now.b }, saved), saved);
  assertEquals(besideFrozen({ b: now.b }, now), now);
  for (const useRslora of [false, true]) {
    const config: PeftConfig = {
      ...{
        adapterType: "lora",
        rank: 2,
        alpha: 5,
        dropout: 0,
        useRslora,
        useDora: false,
        gaussian: false,
      },
      ...{ rankPattern: { fc: 3 }, alphaPattern: { fc: 7 }, targetModules: [], modulesToSave: [] },
    };
    const wide = configBesideInitial(config);
    assertEquals([wide.rank, wide.rankPattern], [4, { fc: 6 }]);
    const scales = ({ rank, alpha, rankPattern, alphaPattern }: PeftConfig) => [
      loraScale(alpha, rank, useRslora),
      loraScale(alphaPattern.fc, rankPattern.fc, useRslora),
    ];
    scales(wide).forEach((scale, i) => assertAlmostEquals(scale, scales(config)[i], 1e-12));
  }
});
