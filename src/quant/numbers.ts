/** Converts numbers to and from the float and integer types of codes, scales and zero points. */
import { BadInputError } from "../errors.ts";
import { byteLength, type DataType, isFloating } from "../graph/dtype.ts";
import { elementCount, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";

const F32 = new Float32Array(1);
const U32 = new Uint32Array(F32.buffer);
const F16 = new Float16Array(1);

/** Bits of the bfloat16 nearest to a finite number, ties to even. */
function bfloat16Bits(value: number): number {
  F32[0] = value;
  return (U32[0] + 0x7fff + ((U32[0] >>> 16) & 1)) >>> 16;
}

/** The nearest value of a float type. */
export function roundToFloat(dtype: DataType, value: number): number {
  switch (dtype) {
    case "float32":
      return Math.fround(value);
    case "float16":
      F16[0] = value;
      return F16[0];
    case "bfloat16":
      U32[0] = bfloat16Bits(value) << 16;
      return F32[0];
    case "float64":
      return value;
    default:
      throw new BadInputError(`Cannot store a scale: ${dtype} is not a float type`);
  }
}

/** A tensor of a float type from numbers, each rounded to nearest. */
export function floatTensor(
  dtype: DataType,
  dims: readonly number[],
  values: ArrayLike<number>,
): Tensor {
  const count = elementCount(dims);
  const make = (array: Float32Array | Float16Array | Float64Array | Uint16Array) =>
    tensor(dtype, dims, new Uint8Array(array.buffer as ArrayBuffer));
  switch (dtype) {
    case "float32":
      return make(Float32Array.from(values));
    case "float16":
      return make(Float16Array.from(values));
    case "float64":
      return make(Float64Array.from(values));
    case "bfloat16": {
      const bits = new Uint16Array(count);
      for (let i = 0; i < count; i++) bits[i] = bfloat16Bits(values[i]);
      return make(bits);
    }
    default:
      throw new BadInputError(`Cannot make a float tensor: ${dtype} is not a float type`);
  }
}

/** A tensor of an 8- or 4-bit integer type, or of a float type, from numbers in range. */
export function codeTensor(
  dtype: DataType,
  dims: readonly number[],
  values: ArrayLike<number>,
): Tensor {
  if (isFloating(dtype)) return floatTensor(dtype, dims, values);
  if (dtype === "int8" || dtype === "uint8") {
    const bytes = new Uint8Array(values.length);
    for (let i = 0; i < values.length; i++) bytes[i] = values[i] & 255;
    return tensor(dtype, dims, bytes);
  }
  if (dtype === "int4" || dtype === "uint4") {
    const bytes = new Uint8Array(Math.ceil(values.length / 2));
    for (let i = 0; i < values.length; i++) bytes[i >> 1] |= (values[i] & 15) << ((i & 1) * 4);
    return tensor(dtype, dims, bytes);
  }
  throw new BadInputError(`Cannot store quantised codes: type ${dtype} is not supported`);
}

/** All values of a tensor as float32 (a copy: the tensor may be a view over a file). */
export function floatsOf(t: Tensor): Float32Array {
  return Float32Array.from(toNumbers(t));
}

/** Copies elements [from, from + out.length) of a float tensor into `out`. */
export function readFloats(t: Tensor, from: number, out: Float32Array): Float32Array {
  const start = byteLength(t.dtype, from);
  const bytes = t.bytes.subarray(start, start + byteLength(t.dtype, out.length));
  out.set(toNumbers({ dtype: t.dtype, dims: [out.length], bytes }));
  return out;
}

/**
 * Writes elements [from, from + values.length) of a float tensor's bytes, each rounded to nearest.
 */
export function writeFloats(
  dtype: DataType,
  bytes: Uint8Array,
  from: number,
  values: Float32Array,
): void {
  bytes.set(floatBytes(dtype, values), byteLength(dtype, from));
}

/** The bytes of values in a float type; a view of them if the type is float32. */
export function floatBytes(dtype: DataType, values: Float32Array): Uint8Array {
  return dtype === "float32"
    ? new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    : floatTensor(dtype, [values.length], values).bytes;
}
