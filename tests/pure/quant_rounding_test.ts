import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { choleskyInPlace, choleskySolve } from "../../src/quant/cholesky.ts";
import { hessianOf, outputEnergy } from "../../src/quant/hessian.ts";
import { roundCompensated } from "../../src/quant/compensated.ts";
import { roundToNearest } from "../../src/quant/nearest.ts";
import { dequantizeSlab, readValues } from "../../src/quant/dequantize.ts";
import { IntegerMatrix } from "../../src/quant/integer_matrix.ts";
import { NBitsMatrix } from "../../src/quant/nbits_matrix.ts";
import type { CodeSlab, QuantisedMatrix } from "../../src/quant/types.ts";
import { correlatedGram, gaussians, norm, randomNBits } from "../helpers/quant.ts";

/** The matrix plus a random rank-2 change of a given relative size. */
function shifted(matrix: QuantisedMatrix, seed: number, relative: number): Float32Array {
  const random = gaussians(seed);
  const { rows, cols } = matrix;
  const base = readValues(matrix, 0, rows);
  const a = Float64Array.from({ length: 2 * cols }, random);
  const b = Float64Array.from({ length: 2 * rows }, random);
  const delta = Float64Array.from({ length: rows * cols }, (_, i) => {
    const [n, k] = [Math.floor(i / cols), i % cols];
    return b[2 * n] * a[k] + b[2 * n + 1] * a[cols + k];
  });
  const factor = relative * norm(base) / norm(delta);
  return base.map((value, i) => value + factor * delta[i]);
}

const errors = (matrix: QuantisedMatrix, slab: CodeSlab, target: Float32Array) =>
  Float64Array.from(dequantizeSlab(matrix.grid, slab), (value, i) => value - target[i]);

const energy = (
  matrix: QuantisedMatrix,
  slab: CodeSlab,
  target: Float32Array,
  hessian: ReturnType<typeof hessianOf>,
) => {
  const error = errors(matrix, slab, target);
  let sum = 0;
  for (let n = 0; n < slab.rows; n++) {
    sum += outputEnergy(hessian, error.subarray(n * slab.cols, (n + 1) * slab.cols));
  }
  return sum;
};

Deno.test("roundToNearest() returns an unchanged matrix bit for bit", () => {
  const matrix = randomNBits(3, 6, 48);
  const slab = matrix.read(0, 6);
  assertEquals(roundToNearest(matrix, slab, readValues(matrix, 0, 6)), slab);
});

Deno.test("roundToNearest() leaves rows alone that are not marked changed", () => {
  const matrix = randomNBits(4, 6, 48);
  const slab = matrix.read(0, 6);
  const out = roundToNearest(matrix, slab, shifted(matrix, 5, 0.5), (n) => n === 2);
  const isRow2 = (i: number) => Math.floor(i / 48) === 2;
  out.codes.forEach((code, i) => isRow2(i) || assertEquals(code, slab.codes[i]));
  assert(out.codes.some((code, i) => isRow2(i) && code !== slab.codes[i]));
});

Deno.test("roundToNearest() is never worse than rounding under the old scales", () => {
  for (const relative of [0.01, 0.1, 1]) {
    const matrix = randomNBits(6, 8, 64);
    const slab = matrix.read(0, 8);
    const target = shifted(matrix, 7, relative);
    const kept = target.map((value, i) => {
      const scale = slab.scales[Math.floor(i / 16)];
      return scale * (Math.max(0, Math.min(15, Math.round(value / scale) + 8)) - 8) - value;
    });
    const chosen = norm(errors(matrix, roundToNearest(matrix, slab, target), target));
    assert(chosen <= norm(kept) * (1 + 1e-6), `${chosen} > ${norm(kept)}`);
  }
});

Deno.test("roundToNearest() widens a range that the change has left", () => {
  const matrix = new IntegerMatrix({ outFirst: true, axis: 0, blockSize: 0 }, {
    codes: tensor("int8", [1, 3], Uint8Array.of(127, 129, 3)),
    scales: float32([1], [0.01]),
  });
  const target = Float32Array.of(2.54, -1.27, 0.03);
  const out = roundToNearest(matrix, matrix.read(0, 1), target);
  assert(norm(errors(matrix, out, target)) < 0.02);
  assert(out.scales[0] > 0.015);
});

Deno.test("roundToNearest() keeps the scale that unchanged rows share with changed ones", () => {
  const matrix = new IntegerMatrix({ outFirst: true, axis: 0, blockSize: 0 }, {
    codes: tensor("int8", [2, 2], Uint8Array.of(127, 1, 2, 3)),
    scales: float32([], [0.01]),
  });
  const slab = matrix.read(0, 2);
  const target = Float32Array.of(2.54, 0.5, 0.02, 0.03);
  const out = roundToNearest(matrix, slab, target, (n) => n === 0);
  assertEquals([...out.codes], [127, 50, 2, 3]);
  assertEquals(out.scales, slab.scales);
});

Deno.test("roundToNearest() stores zero points only where the layout has them", () => {
  const layout = { bits: 4, blockSize: 8, rows: 1, cols: 8 } as const;
  const codes = tensor("uint8", [1, 1, 4], Uint8Array.of(0x10, 0x32, 0x54, 0xf6));
  const scales = float32([1, 1], [0.1]);
  const target = Float32Array.from([3, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 0]);
  const symmetric = new NBitsMatrix(layout, { codes, scales });
  const asymmetric = new NBitsMatrix(layout, {
    codes,
    scales,
    zeroPoints: tensor("uint8", [1, 1], Uint8Array.of(8)),
  });
  assertEquals([...roundToNearest(symmetric, symmetric.read(0, 1), target).zeros], [8]);
  const out = roundToNearest(asymmetric, asymmetric.read(0, 1), target);
  assertEquals([...out.zeros], [0]);
  assert(norm(errors(asymmetric, out, target)) < 0.35);
});

Deno.test("choleskyInPlace() and choleskySolve() solve a random positive definite system", () => {
  const random = gaussians(8);
  const n = 7;
  const m = Float64Array.from({ length: n * n }, random);
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      for (let k = 0; k < n; k++) a[i * n + j] += m[i * n + k] * m[j * n + k];
    }
    a[i * n + i] += 0.1;
  }
  const x = Float64Array.from({ length: n }, random);
  const b = Float64Array.from(
    { length: n },
    (_, i) => x.reduce((s, v, j) => s + a[i * n + j] * v, 0),
  );
  const l = a.slice();
  assert(choleskyInPlace(l, n));
  choleskySolve(l, n, b).forEach((value, i) => assertAlmostEquals(value, x[i], 1e-8));
  assertEquals(choleskyInPlace(Float64Array.of(1, 2, 2, 1), 2), false);
});

Deno.test("hessianOf() reorders, damps and factors the Gram matrix", () => {
  const gram = correlatedGram(9, 12, 40, 4);
  const { order, h, factor, scale } = hessianOf(gram, 0.05);
  for (let i = 0; i < 12; i++) {
    for (let j = 0; j < 12; j++) {
      const at = order[i] * 12 + order[j];
      const plain = gram.values[at] / scale + (i === j ? 0.05 : 0);
      assertAlmostEquals(h[at], plain, 1e-5);
      let product = 0;
      for (let k = 0; k < 12; k++) product += factor[i * 12 + k] * factor[j * 12 + k];
      assertAlmostEquals(product, plain, 1e-4);
    }
    if (i > 0) assert(h[order[i] * 13] >= h[order[i - 1] * 13]);
  }
});

Deno.test("hessianOf() takes inputs that are all zero and refuses ones that are not finite", () => {
  const zero = hessianOf({ cols: 3, count: 5, values: new Float32Array(9) });
  assertEquals([...zero.h], [1, 0, 0, 0, 1, 0, 0, 0, 1]);
  assertThrows(
    () => hessianOf({ cols: 1, count: 1, values: Float32Array.of(NaN) }),
    RangeError,
    "not finite",
  );
});

Deno.test("roundCompensated() loses far less of a small change's output than nearest rounding", () => {
  for (const [relative, most] of [[0.02, 0.65], [0.06, 0.4], [0.3, 0.15]]) {
    const matrix = randomNBits(10, 16, 128, 32);
    const slab = matrix.read(0, 16);
    const target = shifted(matrix, 11, relative);
    const hessian = hessianOf(correlatedGram(12, 128, 500, 30));
    const lost = (s: CodeSlab) =>
      Math.sqrt(energy(matrix, s, target, hessian) / energy(matrix, slab, target, hessian));
    const nearest = lost(roundToNearest(matrix, slab, target));
    const compensated = lost(roundCompensated(matrix, slab, target, hessian));
    assert(compensated < 0.7 * nearest, `relative ${relative}: ${compensated} vs ${nearest}`);
    assert(compensated < most, `relative ${relative}: ${compensated}`);
  }
});

Deno.test("roundCompensated() comes near the best codes that a search over all of them finds", () => {
  // Three columns of int4 under one fixed scale: 4,096 choices.
  const gram = correlatedGram(13, 3, 50, 1);
  const hessian = hessianOf(gram, 0.01);
  const matrix = new IntegerMatrix({ outFirst: true, axis: 0, blockSize: 0 }, {
    codes: tensor("int4", [2, 3], Uint8Array.of(0x31, 0x72, 0x4c)),
    scales: float32([], [0.3]),
  });
  const target = shifted(matrix, 14, 0.4);
  const out = roundCompensated(matrix, matrix.read(0, 2), target, hessian);
  for (let n = 0; n < 2; n++) {
    let least = Infinity;
    for (let c = 0; c < 4096; c++) {
      const error = Float64Array.from(
        [c & 15, (c >> 4) & 15, c >> 8],
        (code, k) => out.scales[0] * (code - 8) - target[n * 3 + k],
      );
      least = Math.min(least, outputEnergy(hessian, error));
    }
    const found = outputEnergy(
      hessian,
      errors(matrix, out, target).subarray(n * 3, n * 3 + 3),
    );
    assert(found <= 1.5 * least + 1e-9, `row ${n}: ${found} vs ${least}`);
  }
});

Deno.test("roundCompensated() equals nearest rounding on inputs that are not correlated", () => {
  const matrix = new IntegerMatrix({ outFirst: true, axis: 0, blockSize: 0 }, {
    codes: tensor("int8", [2, 4], Uint8Array.of(127, 3, 9, 200, 5, 129, 7, 8)),
    scales: float32([], [0.1]),
  });
  const identity = Float32Array.from({ length: 16 }, (_, i) => i % 5 === 0 ? 1 : 0);
  const target = shifted(matrix, 15, 0.03);
  const slab = matrix.read(0, 2);
  const hessian = hessianOf({ cols: 4, count: 4, values: identity });
  assertEquals(
    roundCompensated(matrix, slab, target, hessian),
    roundToNearest(matrix, slab, target),
  );
});

Deno.test("roundCompensated() leaves rows alone that are not marked changed", () => {
  const matrix = randomNBits(16, 4, 32);
  const slab = matrix.read(0, 4);
  const hessian = hessianOf(correlatedGram(17, 32, 100, 5));
  const out = roundCompensated(matrix, slab, shifted(matrix, 18, 0.5), hessian, (n) => n > 1);
  assertEquals(out.codes.subarray(0, 64), slab.codes.subarray(0, 64));
  assertEquals(out.scales.subarray(0, 4), slab.scales.subarray(0, 4));
});
