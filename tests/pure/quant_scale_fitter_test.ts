import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { dequantizeSlab } from "../../src/quant/dequantize.ts";
import type { Gram } from "../../src/quant/hessian.ts";
import { ScaleFitter } from "../../src/quant/scale_fitter.ts";
import type { CodeSlab, QuantisedMatrix } from "../../src/quant/types.ts";
import { correlatedGram, gaussians, randomNBits } from "../helpers/quant.ts";

const ROWS = 12;
/** The last block of 16 ends within a row. */
const COLS = 72;

/** Values of other scales under the same codes. */
function rescaled(matrix: QuantisedMatrix, slab: CodeSlab, by: (scale: number) => number) {
  const scales = slab.scales.map((scale) => matrix.storedScale(scale * by(scale)));
  return { scales, target: dequantizeSlab(matrix.grid, { ...slab, scales }) };
}

/** Σ over rows of e·H·eᵀ. */
function energy({ values, cols }: Gram, wanted: Float32Array, found: Float32Array): number {
  let sum = 0;
  for (let row = 0; row < wanted.length; row += cols) {
    for (let i = 0; i < cols; i++) {
      for (let j = 0; j < cols; j++) {
        const [a, b] = [row + i, row + j];
        sum += (wanted[a] - found[a]) * values[i * cols + j] * (wanted[b] - found[b]);
      }
    }
  }
  return sum;
}

for (const bits of [4, 8] as const) {
  const matrix = randomNBits(3, ROWS, COLS, 16, bits);
  const slab = matrix.read(0, ROWS);

  Deno.test(`ScaleFitter finds the scales that a matrix of ${bits} bits was rescaled by`, async () => {
    const random = gaussians(5);
    const { scales, target } = rescaled(matrix, slab, () => 1 + 0.05 * random());
    const found = await new ScaleFitter(correlatedGram(7, COLS, 400, 6)).fit(matrix, slab, target);
    assertEquals(found.slab.codes, slab.codes);
    for (const [i, scale] of scales.entries()) {
      assertAlmostEquals(found.slab.scales[i], scale, 1e-4 * Math.abs(scale));
    }
    assert(found.missing < 1e-4 * found.wanted, `${found.missing} of ${found.wanted}`);
  });

  Deno.test(`ScaleFitter brings outputs of a matrix of ${bits} bits nearer, and says how near`, async () => {
    const random = gaussians(11);
    const base = dequantizeSlab(matrix.grid, slab);
    const target = base.map((value) => value + 0.01 * random());
    const gram = correlatedGram(13, COLS, 400, 6);
    const found = await new ScaleFitter(gram).fit(matrix, slab, target, (row) => row !== 3);
    // The fitter has damped the sums in their place: both are measured with what it minimised.
    const rows = (values: Float32Array) =>
      Float32Array.from([...values].filter((_, i) => Math.floor(i / COLS) !== 3));
    const fitted = dequantizeSlab(matrix.grid, found.slab);
    const [before, after] = [base, fitted].map((of) => energy(gram, rows(target), rows(of)));
    assert(after < 0.95 * before, `${after} of ${before}`);
    assertAlmostEquals(found.wanted, before, 1e-3 * before);
    assertAlmostEquals(found.missing, after, 1e-3 * before);
    // Nothing of a row that does not change.
    const groups = Math.ceil(COLS / 16);
    assertEquals(
      found.slab.scales.slice(3 * groups, 4 * groups),
      slab.scales.slice(3 * groups, 4 * groups),
    );
  });
}

Deno.test("ScaleFitter refuses inputs of another number of features", async () => {
  const matrix = randomNBits(3, ROWS, COLS);
  const slab = matrix.read(0, ROWS);
  const fitter = new ScaleFitter(correlatedGram(7, 32, 50, 6));
  await assertRejects(
    () => fitter.fit(matrix, slab, dequantizeSlab(matrix.grid, slab)),
    RangeError,
    "must have 72 features: current value is 32",
  );
});
