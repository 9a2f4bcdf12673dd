import { assertEquals } from "@std/assert";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { readValues } from "../../src/quant/dequantize.ts";
import { IntegerMatrix } from "../../src/quant/integer_matrix.ts";
import { NBitsMatrix } from "../../src/quant/nbits_matrix.ts";
import { floatTensor } from "../../src/quant/numbers.ts";
import type { QuantisedMatrix } from "../../src/quant/types.ts";
import { widened, widenedTypes } from "../../src/quant/widen.ts";
import { randomNBits } from "../helpers/quant.ts";

const { codes, scales } = randomNBits(1, 3, 40).tensors;

const MATRICES: Readonly<Record<string, QuantisedMatrix>> = {
  "MatMulNBits": randomNBits(1, 3, 40),
  "MatMulNBits with packed zero points": new NBitsMatrix(
    { bits: 4, blockSize: 16, rows: 3, cols: 40 },
    {
      codes,
      scales,
      zeroPoints: tensor("uint8", [3, 2], Uint8Array.of(0x10, 2, 0x43, 5, 0xf6, 8)),
    },
  ),
  "MatMulNBits with float16 scales": new NBitsMatrix(
    { bits: 4, blockSize: 16, rows: 3, cols: 40 },
    { codes, scales: floatTensor("float16", [9], [0.1, 0.2, -0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]) },
  ),
  "int4 DequantizeLinear in blocks": new IntegerMatrix(
    { outFirst: false, axis: 0, blockSize: 2 },
    {
      codes: tensor("int4", [4, 2], Uint8Array.of(0x21, 0x43, 0xf5, 0x8e)),
      scales: float32([2, 2], [1, 0.1, 0.01, 2]),
    },
  ),
  "uint4 DequantizeLinear with zero points": new IntegerMatrix(
    { outFirst: true, axis: 0, blockSize: 0 },
    {
      codes: tensor("uint4", [2, 3], Uint8Array.of(0x21, 0x43, 0xf5)),
      scales: float32([2], [1, 0.1]),
      zeroPoints: tensor("uint4", [2], Uint8Array.of(0x37)),
    },
  ),
};

for (const [form, matrix] of Object.entries(MATRICES)) {
  Deno.test(`widened() gives ${form} 8 bits of exactly the same values`, () => {
    const wide = widened(matrix)!;
    assertEquals(readValues(wide, 0, wide.rows), readValues(matrix, 0, matrix.rows));
    assertEquals(wide.grid.max - wide.grid.min >= 254, true);
    const types = widenedTypes(matrix)!;
    for (const part of ["codes", "scales", "zeroPoints"] as const) {
      const made = wide.tensors[part];
      assertEquals(
        types[part] && [types[part].dtype, types[part].dims],
        made && [made.dtype, made.dims],
      );
    }
  });
}

Deno.test("widened() leaves matrices of 8 bits alone", () => {
  const eight = randomNBits(2, 3, 32, 16, 8);
  assertEquals([widened(eight), widenedTypes(eight)], [undefined, undefined]);
});
