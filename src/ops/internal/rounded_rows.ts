/** Rows of a matrix in 8 bits, each with a scale of its own. */
import { int } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { type CodeType, ZERO_POINTS } from "../../graph/codes.ts";
import { filledTensor } from "../../graph/extents.ts";
import { tensor } from "../../graph/tensor.ts";

/** Largest distance of a code from the zero point. */
const LEVELS = 127;
/** Steps of a row's second slice per step of its first: rounding leaves half a step on either side. */
export const SLICE_STEPS = 2 * LEVELS;
/** Scale of a row of zeros, so that nothing is divided by 0. */
const LEAST = 1e-30;

/** The zero point of codes as an input of a product; a zero point of 0 is an omitted input. */
export function zeroPoint(b: GraphBuilder, dtype: CodeType): string {
  const zero = ZERO_POINTS[dtype];
  return zero === 0 ? "" : b.constant(tensor(dtype, [], Uint8Array.of(zero)), "zero_point");
}

/**
 * Scales of the rows of `matrix`, float32 [rows]: the largest absolute value is {@linkcode LEVELS} away
 * from 0.
 *
 * @param least a lower bound of everything in `matrix`, if one is known: a row whose largest number is closer
 *   to 0 than this bound is rounded as if it contained the bound
 */
export function emitRowScales(b: GraphBuilder, matrix: string, least?: number): string {
  const along = b.int64s([1]);
  const drop = { keepdims: int(0) };
  // Two reductions take half the time of one over absolute values.
  const above = b.op("ReduceMax", [matrix, along], drop);
  const below = () => b.op("Neg", [b.op("ReduceMin", [matrix, along], drop)]);
  const floors = least === undefined ? [below(), b.scalar(LEAST)] : [b.scalar(-least)];
  return b.op("Mul", [b.op("Max", [above, ...floors]), b.scalar(1 / LEVELS)]);
}

/** The rows' codes, [rows, columns]; `scales` as {@linkcode emitRowScales} gives them. */
export function emitRowCodes(
  b: GraphBuilder,
  matrix: string,
  scales: string,
  dtype: CodeType,
): string {
  return b.op("QuantizeLinear", [matrix, scales, zeroPoints(b, scales, dtype)], { axis: int(0) });
}

function zeroPoints(b: GraphBuilder, scales: string, dtype: CodeType): string {
  const [rows] = b.shape(scales);
  return b.constant(filledTensor(dtype, [rows], Uint8Array.of(ZERO_POINTS[dtype])), "zero_points");
}

/** Rows and what they were rounded to. */
export interface RoundedRows {
  /** float32 [rows, columns] */
  readonly values: string;
  /** As {@linkcode emitRowCodes} gives them. */
  readonly codes: string;
  /** As {@linkcode emitRowScales} gives them. */
  readonly scale: string;
}

/**
 * The second slice of rows: codes of what rounding left over, [rows, columns], in steps of
 * scale / {@linkcode SLICE_STEPS}.
 */
export function emitLowCodes(
  b: GraphBuilder,
  { values, codes, scale }: RoundedRows,
  dtype: CodeType,
): string {
  const high = b.op("DequantizeLinear", [codes, scale, zeroPoints(b, scale, dtype)], {
    axis: int(0),
  });
  const steps = b.op("Mul", [scale, b.scalar(1 / SLICE_STEPS)]);
  return emitRowCodes(b, b.op("Sub", [values, high]), steps, dtype);
}
