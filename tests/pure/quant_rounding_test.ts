import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { choleskyInPlace, choleskySolve } from "../../src/quant/cholesky.ts";
import { factorLower } from "../../src/quant/factor.ts";
import {
  type Gram,
  type Hessian,
  hessianOf,
  type HessianOptions,
} from "../../src/quant/hessian.ts";
import { plainProduct } from "../../src/quant/product.ts";
import { Scratch } from "../../src/quant/scratch.ts";
import { Weigher } from "../../src/quant/weigher.ts";
import { ScaleFit } from "../../src/quant/scale_fit.ts";
import { roundCompensated } from "../../src/quant/compensated.ts";
import { roundToNearest } from "../../src/quant/nearest.ts";
import { dequantizeSlab, readValues } from "../../src/quant/dequantize.ts";
import { IntegerMatrix } from "../../src/quant/integer_matrix.ts";
import { NBitsMatrix } from "../../src/quant/nbits_matrix.ts";
import type { CodeSlab, QuantisedMatrix } from "../../src/quant/types.ts";
import { correlatedGram, gaussians, norm, randomNBits } from "../helpers/quant.ts";

/** H at two positions. */
const curvature = ({ cols, packed, diagonal }: Hessian, i: number, j: number) =>
  i === j ? diagonal[i] : packed[i < j ? i * cols + j : j * cols + i];

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

/** Weighs by a Gram matrix, in blocks of `block` columns. */
const weigherOf = async (gram: Gram, options: HessianOptions = {}) =>
  new Weigher(await hessianOf(gram, options), undefined, undefined, options.block);

/** e·H·eᵀ of one row of errors, in the matrix's order. */
function energyOf({ hessian }: Weigher, error: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < error.length; i++) {
    for (let j = 0; j < error.length; j++) {
      sum += error[hessian.order[i]] * curvature(hessian, i, j) * error[hessian.order[j]];
    }
  }
  return sum;
}

const energy = (
  matrix: QuantisedMatrix,
  slab: CodeSlab,
  target: Float32Array,
  weigher: Weigher,
) => {
  const error = errors(matrix, slab, target);
  let sum = 0;
  for (let n = 0; n < slab.rows; n++) {
    sum += energyOf(weigher, error.subarray(n * slab.cols, (n + 1) * slab.cols));
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

Deno.test("roundToNearest() rounds around zero points that are no integers", () => {
  const layout = { bits: 4, blockSize: 8, rows: 1, cols: 8 } as const;
  const matrix = new NBitsMatrix(layout, {
    codes: tensor("uint8", [1, 1, 4], Uint8Array.of(0x10, 0x32, 0x54, 0xf6)),
    scales: float32([1, 1], [0.1]),
    zeroPoints: float32([1, 1], [7.75]),
  });
  // One value moves, so that the old range stays the best.
  const target = readValues(matrix, 0, 1).map((value, i) => i === 3 ? value - 0.045 : value);
  const { codes, scales: [scale], zeros: [zero] } = roundToNearest(
    matrix,
    matrix.read(0, 1),
    target,
  );
  const nearest = target.map((value) =>
    Math.max(0, Math.min(15, Math.round(value / scale + zero)))
  );
  assertEquals([...codes], [...nearest]);
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

Deno.test("factorLower() factors in blocks what choleskyInPlace() factors, and spares the upper half", async () => {
  const n = 75;
  const { values } = correlatedGram(21, n, 200, 5);
  for (let i = 0; i < n; i++) values[i * n + i] += 0.01;
  const exact = Float64Array.from(values);
  assert(choleskyInPlace(exact, n));
  for (const block of [1, 16, 75]) {
    const a = values.slice();
    assert(await factorLower(a, n, plainProduct, new Scratch(), block));
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        if (j > i) assertEquals(a[i * n + j], values[i * n + j]);
        else assertAlmostEquals(a[i * n + j], exact[i * n + j], 1e-3);
      }
    }
  }
  const indefinite = Float32Array.of(1, 2, 2, 1);
  assertEquals(await factorLower(indefinite, 2, plainProduct, new Scratch(), 1), false);
});

Deno.test("hessianOf() reorders, damps and factors the Gram matrix in its place", async () => {
  const gram = correlatedGram(9, 12, 40, 4);
  const before = gram.values.slice();
  const hessian = await hessianOf(gram, { damping: 0.05, block: 5 });
  const { order, packed, diagonal, scale } = hessian;
  assert(packed === gram.values);
  for (let i = 0; i < 12; i++) {
    for (let j = 0; j < 12; j++) {
      const plain = before[order[i] * 12 + order[j]] / scale + (i === j ? 0.05 : 0);
      assertAlmostEquals(curvature(hessian, i, j), plain, 1e-5);
      let product = 0;
      for (let k = 0; k <= Math.min(i, j); k++) product += packed[i * 12 + k] * packed[j * 12 + k];
      assertAlmostEquals(product, plain, 1e-4);
    }
    if (i > 0) assert(diagonal[i] >= diagonal[i - 1]);
  }
});

Deno.test("hessianOf() takes inputs that are all zero and refuses ones that are not finite", async () => {
  const zero = await hessianOf({ cols: 3, count: 5, values: new Float32Array(9) });
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 3; j++) assertEquals(curvature(zero, i, j), i === j ? 1 : 0);
  }
  await assertRejects(
    () => hessianOf({ cols: 1, count: 1, values: Float32Array.of(NaN) }),
    RangeError,
    "not finite",
  );
});

Deno.test("Weigher gives the products of H and of its factor, whatever its blocks", async () => {
  const [n, rows] = [20, 3];
  const x = Float32Array.from({ length: n * rows }, gaussians(22));
  for (const block of [1, 7, 64]) {
    const weigher = await weigherOf(correlatedGram(23, n, 60, 4), { block });
    const { hessian } = weigher;
    const energies = new Float64Array(rows);
    for (const range of weigher.blocks()) {
      const out = new Float32Array((range[1] - range[0]) * rows);
      await weigher.timesHessian(range, x, rows, out);
      for (let i = range[0]; i < range[1]; i++) {
        for (let r = 0; r < rows; r++) {
          let sum = 0;
          for (let j = 0; j < n; j++) sum += curvature(hessian, i, j) * x[j * rows + r];
          assertAlmostEquals(out[(i - range[0]) * rows + r], sum, 1e-4);
          energies[r] += x[i * rows + r] * sum;
        }
      }
    }
    (await weigher.energies(x, rows)).forEach((found, r) =>
      assertAlmostEquals(found, energies[r], 1e-3 * energies[r])
    );
  }
});

Deno.test("roundCompensated() loses far less of a small change's output than nearest rounding", async () => {
  for (const [relative, most] of [[0.02, 0.65], [0.06, 0.4], [0.3, 0.15]]) {
    const matrix = randomNBits(10, 16, 128, 32);
    const slab = matrix.read(0, 16);
    const target = shifted(matrix, 11, relative);
    const weigher = await weigherOf(correlatedGram(12, 128, 500, 30));
    const lost = (s: CodeSlab) =>
      Math.sqrt(energy(matrix, s, target, weigher) / energy(matrix, slab, target, weigher));
    const nearest = lost(roundToNearest(matrix, slab, target));
    const compensated = lost(await roundCompensated(matrix, slab, target, weigher));
    assert(compensated < 0.7 * nearest, `relative ${relative}: ${compensated} vs ${nearest}`);
    assert(compensated < most, `relative ${relative}: ${compensated}`);
  }
});

Deno.test("roundCompensated() comes near the best codes that a search over all of them finds", async () => {
  // Three columns of int4 under one fixed scale: 4,096 choices.
  const gram = correlatedGram(13, 3, 50, 1);
  const weigher = await weigherOf(gram, { damping: 0.01 });
  const matrix = new IntegerMatrix({ outFirst: true, axis: 0, blockSize: 0 }, {
    codes: tensor("int4", [2, 3], Uint8Array.of(0x31, 0x72, 0x4c)),
    scales: float32([], [0.3]),
  });
  const target = shifted(matrix, 14, 0.4);
  const out = await roundCompensated(matrix, matrix.read(0, 2), target, weigher);
  for (let n = 0; n < 2; n++) {
    let least = Infinity;
    for (let c = 0; c < 4096; c++) {
      const error = Float64Array.from(
        [c & 15, (c >> 4) & 15, c >> 8],
        (code, k) => out.scales[0] * (code - 8) - target[n * 3 + k],
      );
      least = Math.min(least, energyOf(weigher, error));
    }
    const found = energyOf(
      weigher,
      errors(matrix, out, target).subarray(n * 3, n * 3 + 3),
    );
    assert(found <= 1.5 * least + 1e-9, `row ${n}: ${found} vs ${least}`);
  }
});

Deno.test("roundCompensated() equals nearest rounding on inputs that are not correlated", async () => {
  const matrix = new IntegerMatrix({ outFirst: true, axis: 0, blockSize: 0 }, {
    codes: tensor("int8", [2, 4], Uint8Array.of(127, 3, 9, 200, 5, 129, 7, 8)),
    scales: float32([], [0.1]),
  });
  const identity = Float32Array.from({ length: 16 }, (_, i) => i % 5 === 0 ? 1 : 0);
  const target = shifted(matrix, 15, 0.03);
  const slab = matrix.read(0, 2);
  const weigher = await weigherOf({ cols: 4, count: 4, values: identity });
  assertEquals(
    await roundCompensated(matrix, slab, target, weigher),
    roundToNearest(matrix, slab, target),
  );
});

Deno.test("roundCompensated() leaves rows alone that are not marked changed", async () => {
  const matrix = randomNBits(16, 4, 32);
  const slab = matrix.read(0, 4);
  const weigher = await weigherOf(correlatedGram(17, 32, 100, 5));
  const out = await roundCompensated(matrix, slab, shifted(matrix, 18, 0.5), weigher, (n) => n > 1);
  assertEquals(out.codes.subarray(0, 64), slab.codes.subarray(0, 64));
  assertEquals(out.scales.subarray(0, 4), slab.scales.subarray(0, 4));
});

Deno.test("roundCompensated() gives as small an energy in blocks of columns as column by column", async () => {
  const matrix = randomNBits(24, 24, 160, 32);
  const slab = matrix.read(0, 24);
  const target = shifted(matrix, 25, 0.05);
  const found: number[] = [];
  for (const block of [1, 48, 64, 160]) {
    const weigher = await weigherOf(correlatedGram(26, 160, 600, 30), { block });
    const out = await roundCompensated(matrix, slab, target, weigher);
    found.push(energy(matrix, out, target, weigher));
  }
  for (const one of found) assertAlmostEquals(one, found[0], 1e-3 * found[0]);
});

for (const groups of [1, 4]) {
  Deno.test(`ScaleFit finds the scales of least energy for rows of ${groups}`, async () => {
    const [rows, cols] = [3, 96];
    const weigher = await weigherOf(correlatedGram(27, cols, 400, 20));
    const random = gaussians(28);
    const groupAt = weigher.hessian.order.map((column) => Math.floor(column * groups / cols));
    const codes = Int16Array.from({ length: cols * rows }, () => Math.round(5 * random()));
    const zeros = new Float32Array(groups * rows).fill(1);
    const scales = Float32Array.from({ length: groups * rows }, () => 1.5 + 0.1 * random());
    const target = Float32Array.from(codes, (code) => code - 1 + random());
    /** Of a row under some scales, in the matrix's order. */
    const errorsOf = (row: number, scale: (group: number) => number) => {
      const errors = new Float64Array(cols);
      groupAt.forEach((group, j) => {
        const at = j * rows + row;
        errors[weigher.hessian.order[j]] = target[at] - scale(group) * (codes[at] - 1);
      });
      return errors;
    };
    const own = (row: number) => energyOf(weigher, errorsOf(row, (g) => scales[g * rows + row]));
    const batch = {
      rows,
      groupAt,
      codes,
      scales,
      zeros,
      errors: target.map((value, at) => {
        const group = groupAt[Math.floor(at / rows)];
        return value - scales[group * rows + at % rows] * (codes[at] - 1);
      }),
      energies: Float64Array.from({ length: rows }, (_, row) => own(row)),
    };
    const fit = new ScaleFit(weigher, batch, groups, cols / groups);
    await fit.gather();
    for (let row = 0; row < rows; row++) {
      const found = fit.solve(row, (scale) => scale)!;
      const energyAt = (change: (group: number) => number) =>
        energyOf(weigher, errorsOf(row, (g) => found.scales[g] + change(g)));
      assertAlmostEquals(found.energy, energyAt(() => 0), 1e-4 * own(row));
      assert(found.energy < 0.9 * own(row));
      for (let group = 0; group < groups; group++) {
        for (const step of [-0.02, 0.02]) {
          assert(energyAt((g) => g === group ? step : 0) > energyAt(() => 0), `${group} ${step}`);
        }
      }
    }
  });
}

Deno.test("Scratch gives the memory of a large array back when far less is asked for", () => {
  const scratch = new Scratch();
  const large = scratch.float32("sums", 1 << 20);
  assertEquals(scratch.float32("sums", 1 << 19).buffer, large.buffer);
  const small = scratch.float32("sums", 1000);
  assertEquals(large.buffer.detached, true);
  assertEquals(small.buffer.byteLength, 4000);
});
