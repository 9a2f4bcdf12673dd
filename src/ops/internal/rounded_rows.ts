/** Rows of a matrix in 8 bits, each with a scale of its own. */
import { int } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { tensor } from "../../graph/tensor.ts";
import type { CodeType } from "./integer_form.ts";

/** Largest distance of a code from the zero point. */
const LEVELS = 127;
/** Scale of a row of zeros, by which something can be divided. */
const LEAST = 1e-30;

/** Where 0 stands: kernels that multiply unsigned codes are the fast ones. */
export const ZERO_POINTS: Readonly<Record<CodeType, number>> = { int8: 0, uint8: 128 };

/** Scales of the rows of `matrix`, float32 [rows]: the largest absolute value is {@linkcode LEVELS} away from 0. */
export function emitRowScales(b: GraphBuilder, matrix: string): string {
  const along = b.int64s([1]);
  const drop = { keepdims: int(0) };
  // Two reductions take half the time of one over absolute values.
  const above = b.op("ReduceMax", [matrix, along], drop);
  const below = b.op("Neg", [b.op("ReduceMin", [matrix, along], drop)]);
  const largest = b.op("Max", [above, below, b.scalar(LEAST)]);
  return b.op("Mul", [largest, b.scalar(1 / LEVELS)]);
}

/** The rows' codes, [rows, columns]; `scales` as {@linkcode emitRowScales} gives them. */
export function emitRowCodes(
  b: GraphBuilder,
  matrix: string,
  scales: string,
  dtype: CodeType,
): string {
  const [rows] = b.dims(matrix);
  const zeros = new Uint8Array(rows).fill(ZERO_POINTS[dtype]);
  const zeroPoints = b.constant(tensor(dtype, [rows], zeros), "zero_points");
  return b.op("QuantizeLinear", [matrix, scales, zeroPoints], { axis: int(0) });
}
