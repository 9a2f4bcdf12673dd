/**
 * QuantizeLinear of a constant: round(x / scale) + zeroPoint, ties to even, saturated. Source: ONNX
 * Operators.md. Weights are stored as floats before it if a tool wrote them for a runtime that rounds
 * them itself (TensorRT).
 */
import { intAttribute } from "./attributes.ts";
import { codeRange, type CodeType } from "./codes.ts";
import { dataTypeOf } from "./dtype.ts";
import { roundHalfEven } from "./round_half_even.ts";
import { elementCount, type Tensor, tensor, toNumbers } from "./tensor.ts";
import type { Node } from "./types.ts";

/** Parameters of rounding floats to 8-bit integers. */
export interface Rounding {
  /** Type of the codes. */
  readonly dtype: CodeType;
  /** One scale for all values, or one for each index of the axis. */
  readonly scales: Tensor;
  /** As many as scales; absent: all 0. */
  readonly zeroPoints?: Tensor;
  /** Axis that scales run along, counted from the first; ignored for one scale. */
  readonly axis: number;
  /** Neighbours along `axis` that share a scale, if scales are per block; otherwise 0. */
  readonly blockSize: number;
}

/**
 * How a QuantizeLinear node rounds a constant.
 *
 * @param constant contents of a value, `undefined` for a computed one
 * @returns `undefined` if its input is not a constant of float32 or float16, if it does not round to 8
 *   bits, or if its scales do not fit
 */
export function roundingOf(
  node: Node,
  constant: (name: string) => Tensor | undefined,
): Rounding | undefined {
  const [values, scales, zeroPoints] = node.inputs.map((name) =>
    name === "" ? undefined : constant(name)
  );
  if (node.opType !== "QuantizeLinear" || values === undefined || scales === undefined) return;
  if (values.dtype !== "float32" && values.dtype !== "float16") return;
  // A zero point that is computed is as unknown as a scale that is.
  if (zeroPoints === undefined && (node.inputs[2] ?? "") !== "") return;
  const dtype = zeroPoints?.dtype ?? dataTypeOf(intAttribute(node, "output_dtype", 0)) ?? "uint8";
  if (dtype !== "int8" && dtype !== "uint8") return;
  const axis = intAttribute(node, "axis", 1);
  const rounding: Rounding = {
    dtype,
    scales,
    ...(zeroPoints === undefined ? {} : { zeroPoints }),
    axis: axis < 0 ? axis + values.dims.length : axis,
    blockSize: intAttribute(node, "block_size", 0),
  };
  return fits(values, rounding) ? rounding : undefined;
}

function fits({ dims }: Tensor, { scales, zeroPoints, axis, blockSize }: Rounding): boolean {
  const count = elementCount(scales.dims);
  if (zeroPoints !== undefined && elementCount(zeroPoints.dims) !== count) return false;
  if (blockSize === 0) return count === 1 || count === dims[axis];
  const blocks = Math.ceil(dims[axis] / blockSize);
  return count === elementCount(dims.map((dim, i) => i === axis ? blocks : dim));
}

/** The codes of `values`, in their dimensions. */
export function quantizeLinear(values: Tensor, rounding: Rounding): Tensor {
  const { dims } = values;
  const { min, max } = codeRange(rounding.dtype);
  const codes = new Uint8Array(elementCount(dims));
  const numbers = toNumbers(values);
  forEachRun(dims, rounding, (from, to, scale, zero) => {
    for (let i = from; i < to; i++) {
      const steps = roundHalfEven(Math.fround(numbers[i] / scale)) + zero;
      codes[i] = steps < min ? min : steps > max ? max : steps;
    }
  });
  return tensor(rounding.dtype, dims, codes);
}

/** The floats that DequantizeLinear computes from codes, scale·(code − zeroPoint). */
export function dequantizeLinear(codes: Tensor, rounding: Rounding, into: Float32Array): void {
  const numbers = toNumbers(codes);
  forEachRun(codes.dims, rounding, (from, to, scale, zero) => {
    for (let i = from; i < to; i++) into[i] = (numbers[i] - zero) * scale;
  });
}

/** Visits the elements in order, in runs that share a scale. */
function forEachRun(
  dims: readonly number[],
  { scales, zeroPoints, axis, blockSize }: Rounding,
  visit: (from: number, to: number, scale: number, zero: number) => void,
): void {
  const factors = toNumbers(scales);
  const zeros = zeroPoints === undefined ? undefined : toNumbers(zeroPoints);
  const zeroOf = (group: number) => zeros?.[group] ?? 0;
  const count = elementCount(dims);
  if (factors.length === 1) return visit(0, count, factors[0], zeroOf(0));
  const inner = elementCount(dims.slice(axis + 1));
  for (let from = 0, row = 0; from < count; from += inner, row++) {
    const along = row % dims[axis];
    if (blockSize === 0) {
      visit(from, from + inner, factors[along], zeroOf(along));
      continue;
    }
    const outer = (row - along) / dims[axis];
    const block = outer * Math.ceil(dims[axis] / blockSize) + Math.floor(along / blockSize);
    for (let i = 0; i < inner; i++) {
      const group = block * inner + i;
      visit(from + i, from + i + 1, factors[group], zeroOf(group));
    }
  }
}
