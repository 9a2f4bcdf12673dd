import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { float32, type Tensor, tensor } from "../../src/graph/tensor.ts";
import { floatTensor } from "../../src/quant/numbers.ts";
import { readValues } from "../../src/quant/dequantize.ts";
import { NBitsMatrix } from "../../src/quant/nbits_matrix.ts";
import { IntegerMatrix } from "../../src/quant/integer_matrix.ts";
import { floatMatrix } from "../../src/quant/float_matrix.ts";
import type { StoredMatrix } from "../../src/quant/types.ts";
import { randomNBits } from "../helpers/quant.ts";

const u8 = (dims: number[], values: number[]) => tensor("uint8", dims, Uint8Array.from(values));
const i8 = (dims: number[], values: number[]) =>
  tensor("int8", dims, Uint8Array.from(values, (v) => v & 255));

/** Writes every row back as it was read. */
function rewritten(matrix: StoredMatrix): readonly (Tensor | undefined)[] {
  const step = matrix.kind === "float" ? 1 : matrix.grid.groupRows;
  // deno-lint-ignore no-explicit-any
  const editor = matrix.edit() as any;
  for (let from = 0; from < matrix.rows; from += step) {
    editor.write(matrix.read(from, Math.min(from + step, matrix.rows)));
  }
  const { codes, scales, zeroPoints } = editor.tensors();
  return [codes, scales, zeroPoints];
}

Deno.test("NBitsMatrix reads packed nibbles low first, with a default zero of 8", () => {
  const matrix = new NBitsMatrix({ bits: 4, blockSize: 2, rows: 2, cols: 3 }, {
    codes: u8([2, 2, 1], [0x9f, 0x07, 0x80, 0x0a]),
    scales: float32([2, 2], [1, 2, -0.5, 3]),
  });
  assertEquals([...readValues(matrix, 0, 2)], [7, 1, -2, 4, -0, 6]);
});

Deno.test("NBitsMatrix reads uint8 zero points packed per row of blocks", () => {
  const layout = { bits: 4, blockSize: 2, rows: 2, cols: 6 } as const;
  const matrix = new NBitsMatrix(layout, {
    codes: u8([2, 3, 1], [0x21, 0x43, 0x65, 0x21, 0x43, 0x65]),
    scales: float32([6], [1, 1, 1, 1, 1, 1]),
    zeroPoints: u8([4], [0x31, 0xf5, 0x02, 0x04]),
  });
  assertEquals([...readValues(matrix, 0, 1)], [0, 1, 0, 1, 0, 1]);
  assertEquals([...readValues(matrix, 1, 2)], [-1, 0, 3, 4, 1, 2]);
  assertEquals(rewritten(matrix)[2]?.bytes, matrix.tensors.zeroPoints!.bytes);
});

Deno.test("NBitsMatrix reads 8 bits around 128", () => {
  const matrix = new NBitsMatrix({ bits: 8, blockSize: 2, rows: 1, cols: 3 }, {
    codes: u8([1, 2, 2], [129, 127, 0, 77]),
    scales: float32([1, 2], [0.5, 1]),
  });
  assertEquals([...readValues(matrix, 0, 1)], [0.5, -0.5, -128]);
});

Deno.test("NBitsMatrix refuses tensors that do not fit its layout", () => {
  assertThrows(
    () =>
      new NBitsMatrix({ bits: 4, blockSize: 32, rows: 2, cols: 64 }, {
        codes: u8([2, 2, 16], new Array(64).fill(0)),
        scales: float32([2], [1, 1]),
      }),
    RangeError,
    "scales must have 4 elements: current value is 2",
  );
});

Deno.test("IntegerMatrix reads [in, out] int8 per output channel", () => {
  const matrix = new IntegerMatrix({ outFirst: false, axis: 1, blockSize: 0 }, {
    codes: i8([3, 2], [1, -2, 3, -4, 5, -6]),
    scales: float32([2], [1, 0.5]),
  });
  assertEquals([matrix.rows, matrix.cols], [2, 3]);
  assertEquals([...readValues(matrix, 0, 2)], [1, 3, 5, -1, -2, -3]);
  assertEquals([...readValues(matrix, 1, 2)], [-1, -2, -3]);
});

Deno.test("IntegerMatrix reads uint8 per tensor with a zero point", () => {
  const matrix = new IntegerMatrix({ outFirst: false, axis: 1, blockSize: 0 }, {
    codes: u8([2, 2], [128, 130, 0, 255]),
    scales: float32([], [0.5]),
    zeroPoints: u8([], [128]),
  });
  assertEquals([...readValues(matrix, 0, 2)], [0, -64, 1, 63.5]);
  assertEquals(matrix.grid.groupRows, 2);
});

Deno.test("IntegerMatrix reads blocks along either stored axis", () => {
  const codes = tensor("int4", [4, 2], Uint8Array.of(0x21, 0x43, 0xf5, 0x8e));
  const first = new IntegerMatrix({ outFirst: false, axis: 0, blockSize: 2 }, {
    codes,
    scales: float32([2, 2], [1, 10, 100, 1000]),
  });
  assertEquals([...readValues(first, 0, 2)], [1, 3, 500, -200, 20, 40, -1000, -8000]);
  const second = new IntegerMatrix({ outFirst: true, axis: 1, blockSize: 1 }, {
    codes,
    scales: float32([4, 2], [1, 2, 3, 4, 5, 6, 7, 8]),
  });
  assertEquals([...readValues(second, 0, 4)], [1, 4, 9, 16, 25, -6, -14, -64]);
});

Deno.test("IntegerMatrix keeps a quantiser's narrowed code range", () => {
  const range = (values: number[]) => {
    const { min, max } = new IntegerMatrix({ outFirst: true, axis: 0, blockSize: 0 }, {
      codes: i8([1, values.length], values),
      scales: float32([1], [1]),
    }).grid;
    return [min, max];
  };
  assertEquals(range([64, -3]), [-64, 64]);
  assertEquals(range([127, -127]), [-127, 127]);
  assertEquals(range([1, -128]), [-128, 127]);
});

Deno.test("floatMatrix reads both storage orders and rounds on writing", () => {
  const stored = floatTensor("float16", [2, 3], [1, 2, 3, 4, 5, 6]);
  assertEquals([...readValues(floatMatrix(stored, true), 1, 2)], [4, 5, 6]);
  const inFirst = floatMatrix(stored, false);
  assertEquals([...readValues(inFirst, 1, 3)], [2, 5, 3, 6]);
  const editor = inFirst.edit();
  editor.write({ from: 1, rows: 1, cols: 2, values: Float32Array.of(2.0001, 5.5) });
  const [, changed, , , other] = new Float16Array(
    editor.tensors().codes.bytes.buffer as ArrayBuffer,
  );
  assertEquals(changed, 2);
  assertAlmostEquals(other, 5.5);
});

Deno.test("edit() gives back bit-identical tensors for rows written as they were read", () => {
  const integer = new IntegerMatrix({ outFirst: false, axis: 1, blockSize: 0 }, {
    codes: u8([3, 2], [1, 2, 3, 250, 5, 6]),
    scales: float32([2], [0.1, 0.7]),
    zeroPoints: u8([2], [7, 100]),
  });
  const signed = new IntegerMatrix({ outFirst: true, axis: 0, blockSize: 0 }, {
    codes: tensor("int4", [3, 3], Uint8Array.of(0x9f, 0x38, 0x21, 0xab, 0x0c)),
    scales: floatTensor("float16", [3], [0.1, 0.2, -0.3]),
  });
  for (const matrix of [randomNBits(1, 5, 30), randomNBits(2, 3, 32, 16, 8), integer, signed]) {
    const [codes, scales, zeros] = rewritten(matrix);
    assertEquals(codes, matrix.tensors.codes);
    assertEquals(scales, matrix.tensors.scales);
    assertEquals(zeros, matrix.tensors.zeroPoints);
  }
});
