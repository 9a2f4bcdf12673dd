import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Codebook, CODEBOOKS } from "../../src/graph/codebook.ts";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { leastStep, nearestCode } from "../../src/quant/code_grid.ts";
import { CodebookMatrix } from "../../src/quant/codebook_matrix.ts";
import { roundCompensated } from "../../src/quant/compensated.ts";
import { dequantizeSlab, readValues } from "../../src/quant/dequantize.ts";
import { hessianOf } from "../../src/quant/hessian.ts";
import { quantizeRows, roundToNearest } from "../../src/quant/nearest.ts";
import type { CodeSlab } from "../../src/quant/types.ts";
import { Weigher } from "../../src/quant/weigher.ts";
import { inCodebook } from "../helpers/codebook_model.ts";
import { correlatedGram, gaussians, norm } from "../helpers/quant.ts";

function randomMatrix(codebook: Codebook, rows: number, cols: number, blockSize = 16) {
  const random = gaussians(rows + cols);
  const values = Float32Array.from({ length: rows * cols }, random);
  const { codes, absmax } = inCodebook(values, codebook, blockSize);
  const matrix = new CodebookMatrix({ codebook, blockSize, rows, cols }, { codes, scales: absmax });
  return { matrix, values };
}

const NAMES = Object.keys(CODEBOOKS) as Codebook[];

Deno.test("nearestCode() is the codebook's entry of least distance", () => {
  const random = gaussians(1);
  for (const codebook of NAMES) {
    const { grid } = randomMatrix(codebook, 1, 16).matrix;
    for (let i = 0; i < 500; i++) {
      const wanted = random();
      const least = Math.min(...CODEBOOKS[codebook].map((value) => Math.abs(value - wanted)));
      assertEquals(Math.fround(Math.abs(nearestCode(grid, wanted) - wanted)), Math.fround(least));
    }
  }
});

Deno.test("leastStep() is the distance of the closest entries, or of integers", () => {
  const { grid } = randomMatrix("nf4", 1, 16).matrix;
  assertEquals(leastStep(grid), Math.fround(0.07958029955625534));
  assertEquals(leastStep({ ...grid, levels: undefined }), 1);
});

Deno.test("CodebookMatrix reads the even code of a byte from its high half", () => {
  const matrix = new CodebookMatrix({ codebook: "fp4", blockSize: 2, rows: 1, cols: 4 }, {
    codes: tensor("uint8", [2], Uint8Array.of(0x3b, 0x42)),
    scales: float32([2], [2, 3]),
  });
  // 3 is 1, 11 is -1, 4 is 1/3, 2 is 2/3.
  const found = readValues(matrix, 0, 1);
  [2, -2, 1, 2].forEach((value, i) => assert(Math.abs(value - found[i]) < 1e-6));
});

Deno.test("CodebookMatrix writes back what it read, 0 and -0 apart", () => {
  for (const codebook of NAMES) {
    const codes = tensor("uint8", [256], Uint8Array.from({ length: 256 }, (_, i) => i));
    const scales = float32([32], new Array(32).fill(0.5));
    const matrix = new CodebookMatrix({ codebook, blockSize: 16, rows: 8, cols: 64 }, {
      codes,
      scales,
    });
    const editor = matrix.edit();
    for (const from of [0, 4]) editor.write(matrix.read(from, from + 4));
    const { codes: after, scales: scalesAfter } = editor.tensors();
    assertEquals(after.bytes, codes.bytes);
    assertEquals(scalesAfter!.bytes, scales.bytes);
  }
});

Deno.test("CodebookMatrix refuses tensors that do not fit and rows that are no whole blocks", () => {
  const codes = tensor("uint8", [32], new Uint8Array(32));
  const make = (cols: number, scales: number) => () =>
    new CodebookMatrix({ codebook: "nf4", blockSize: 16, rows: 64 / cols, cols }, {
      codes,
      scales: float32([scales], new Array(scales).fill(1)),
    });
  assertThrows(make(32, 3), RangeError, "absmax must have size 4: current value is 3");
  assertThrows(make(8, 4), RangeError, "rows of 8 weights are not whole blocks of 16");
});

Deno.test("roundToNearest() gives a codebook's values back, and is no worse than its own scales", () => {
  for (const codebook of NAMES) {
    const { matrix, values } = randomMatrix(codebook, 8, 64);
    const slab = matrix.read(0, 8);
    const same = readValues(matrix, 0, 8);
    assertEquals(dequantizeSlab(matrix.grid, roundToNearest(matrix, slab, same)), same);
    const error = (s: CodeSlab) => norm(dequantizeSlab(matrix.grid, s), values);
    // By largest magnitudes, as bitsandbytes rounds.
    const before = error(slab);
    assert(error(roundToNearest(matrix, slab, values)) <= before);
    assert(error(quantizeRows(matrix, 0, values)) <= before);
  }
});

Deno.test("roundCompensated() loses less of a small change's output than nearest rounding in a codebook", async () => {
  for (const codebook of NAMES) {
    const { matrix } = randomMatrix(codebook, 16, 128, 32);
    const slab = matrix.read(0, 16);
    const random = gaussians(11);
    const [a, c] = [128, 16].map((length) => Float64Array.from({ length }, random));
    const target = readValues(matrix, 0, 16)
      .map((value, i) => value + 0.02 * c[Math.floor(i / 128)] * a[i % 128]);
    const weigher = new Weigher(await hessianOf(correlatedGram(12, 128, 500, 30)));
    const { order } = weigher.hessian;
    const lost = async (s: CodeSlab) => {
      const found = dequantizeSlab(matrix.grid, s);
      const errors = new Float32Array(128 * 16);
      for (let j = 0; j < 128; j++) {
        for (let r = 0; r < 16; r++) {
          const at = r * 128 + order[j];
          errors[j * 16 + r] = target[at] - found[at];
        }
      }
      return (await weigher.energies(errors, 16)).reduce((sum, energy) => sum + energy, 0);
    };
    const nearest = await lost(roundToNearest(matrix, slab, target));
    const compensated = await lost(await roundCompensated(matrix, slab, target, weigher));
    assert(compensated < 0.5 * nearest, `${codebook}: ${compensated} vs ${nearest}`);
  }
});
