/** Stores the same values in more bits: an int4 matrix as an int8 one, exactly, with finer steps. */
import { codeRange } from "../graph/codes.ts";
import type { DataType } from "../graph/dtype.ts";
import { type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import { IntegerMatrix } from "./integer_matrix.ts";
import { NBitsMatrix } from "./nbits_matrix.ts";
import { codeTensor, floatsOf, floatTensor } from "./numbers.ts";
import { isFloating } from "../graph/dtype.ts";
import { Scratch } from "./scratch.ts";
import type { QuantisedMatrix } from "./types.ts";

/**
 * Codes are multiplied by 16 and scales divided by it, so W stays exactly representable (dividing a
 * float by a power of two loses nothing until it is subnormal) and steps become 16 times finer.
 */
const FACTOR = 16;

/**
 * A 4-bit matrix with 8-bit codes of the same values, blocks and operator.
 *
 * @param scratch holds its codes until the next call with it
 * @returns `undefined` if the matrix already has 8 bits
 */
export function widened(
  matrix: QuantisedMatrix,
  scratch = new Scratch(),
): QuantisedMatrix | undefined {
  if (matrix instanceof NBitsMatrix) {
    return matrix.layout.bits === 8 ? undefined : widenedNBits(matrix, scratch);
  }
  if (!(matrix instanceof IntegerMatrix)) return undefined;
  const { codes, scales, zeroPoints } = matrix.tensors;
  const dtype = WIDE[codes.dtype];
  if (dtype === undefined) return undefined;
  return new IntegerMatrix(matrix.layout, {
    codes: codeTensor(dtype, codes.dims, multiplied(toNumbers(codes))),
    scales: narrowed(scales!),
    ...(zeroPoints === undefined
      ? {}
      : { zeroPoints: codeTensor(dtype, zeroPoints.dims, multiplied(toNumbers(zeroPoints))) }),
  }, codeRange(dtype));
}

const WIDE: Partial<Record<DataType, DataType>> = { int4: "int8", uint4: "uint8" };

const multiplied = (values: ArrayLike<number>) => Int16Array.from(values, (code) => code * FACTOR);

const narrowed = (scales: Tensor) =>
  floatTensor(scales.dtype, scales.dims, floatsOf(scales).map((scale) => scale / FACTOR));

function widenedNBits(matrix: NBitsMatrix, scratch: Scratch): NBitsMatrix {
  const { layout, blocks } = matrix;
  const { codes, scales, zeroPoints } = matrix.tensors;
  const bytes = scratch.uint8("widened", layout.rows * blocks * layout.blockSize);
  for (let i = 0; i < codes.bytes.length; i++) {
    bytes[2 * i] = (codes.bytes[i] & 15) * FACTOR;
    bytes[2 * i + 1] = (codes.bytes[i] >> 4) * FACTOR;
  }
  return new NBitsMatrix({ ...layout, bits: 8 }, {
    codes: tensor("uint8", [layout.rows, blocks, layout.blockSize], bytes),
    scales: narrowed(scales!),
    ...(zeroPoints === undefined ? {} : { zeroPoints: widenedZeros(zeroPoints, matrix) }),
  });
}

/** Zero points in 8 bits. */
function widenedZeros(zeroPoints: Tensor, { layout, blocks }: NBitsMatrix): Tensor {
  if (isFloating(zeroPoints.dtype)) {
    const values = floatsOf(zeroPoints).map((zero) => zero * FACTOR);
    return floatTensor(zeroPoints.dtype, zeroPoints.dims, values);
  }
  const bytes = new Uint8Array(layout.rows * blocks);
  const rowBytes = Math.ceil(blocks / 2);
  for (let n = 0; n < layout.rows; n++) {
    for (let b = 0; b < blocks; b++) {
      const packed = zeroPoints.bytes[n * rowBytes + (b >> 1)];
      bytes[n * blocks + b] = ((packed >> ((b & 1) * 4)) & 15) * FACTOR;
    }
  }
  const { dtype, dims } = wideZeroType(zeroPoints, layout.rows, blocks);
  return tensor(dtype, dims, bytes);
}

/** Packed zero points become one byte per block, with the same number of dimensions. */
function wideZeroType(
  zeroPoints: Tensor,
  rows: number,
  blocks: number,
): Pick<Tensor, "dtype" | "dims"> {
  if (isFloating(zeroPoints.dtype)) return zeroPoints;
  return { dtype: "uint8", dims: zeroPoints.dims.length === 2 ? [rows, blocks] : [rows * blocks] };
}

/** Types and dimensions that {@linkcode widened} gives the tensors of a matrix, without computing them. */
export function widenedTypes(
  matrix: QuantisedMatrix,
): Readonly<Record<string, Pick<Tensor, "dtype" | "dims">>> | undefined {
  const { codes, scales, zeroPoints } = matrix.tensors;
  if (matrix instanceof NBitsMatrix && matrix.layout.bits === 4) {
    const { layout: { rows, blockSize }, blocks } = matrix;
    return {
      codes: { dtype: "uint8", dims: [rows, blocks, blockSize] },
      scales: scales!,
      ...(zeroPoints === undefined ? {} : { zeroPoints: wideZeroType(zeroPoints, rows, blocks) }),
    };
  }
  const dtype = WIDE[codes.dtype];
  if (dtype === undefined) return undefined;
  return {
    codes: { dtype, dims: codes.dims },
    scales: scales!,
    ...(zeroPoints === undefined ? {} : { zeroPoints: { dtype, dims: zeroPoints.dims } }),
  };
}
