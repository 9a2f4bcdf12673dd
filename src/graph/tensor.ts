/** A dense tensor in host memory: element type, dimensions, little-endian bytes. */
import { BadInputError } from "../errors.ts";
import { byteLength, type DataType } from "./dtype.ts";

/** `bytes` may be a view over a mapped file: never write through it. */
export interface Tensor {
  /** Element type. */
  readonly dtype: DataType;
  /** Dimensions; none for a scalar. */
  readonly dims: readonly number[];
  /** Elements in row-major order, little-endian; two 4-bit elements per byte, the lower half first. */
  readonly bytes: Uint8Array;
}

/** Number of elements of a shape; 1 for a scalar's `[]`. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((count, dim) => count * dim, 1);
}

/** Creates a tensor and checks that `bytes` has the size that its type and dimensions require. */
export function tensor(dtype: DataType, dims: readonly number[], bytes: Uint8Array): Tensor {
  const expected = byteLength(dtype, elementCount(dims));
  if (bytes.byteLength !== expected) {
    throw new RangeError(
      `Cannot make a ${dtype}[${dims}] tensor: it needs ${expected} bytes: current value is ${bytes.byteLength}`,
    );
  }
  return { dtype, dims: [...dims], bytes };
}

const bytesOf = (view: ArrayBufferView) =>
  new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);

/** A float32 tensor from numbers. */
export function float32(dims: readonly number[], values: ArrayLike<number>): Tensor {
  return tensor("float32", dims, bytesOf(Float32Array.from(values)));
}

/** A float32 tensor over the caller's own array, which may be longer than the tensor. */
export function float32Over(dims: readonly number[], values: Float32Array<ArrayBuffer>): Tensor {
  return { dtype: "float32", dims, bytes: bytesOf(values.subarray(0, elementCount(dims))) };
}

/** An int64 tensor from whole numbers. */
export function int64(dims: readonly number[], values: ArrayLike<number | bigint>): Tensor {
  const out = new BigInt64Array(values.length);
  const int32s = new Int32Array(out.buffer);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    // Most values are dimensions, and a bigint would allocate an object.
    if (typeof value === "number" && value === (value | 0)) {
      int32s[2 * i] = value;
      int32s[2 * i + 1] = value < 0 ? -1 : 0;
    } else out[i] = BigInt(value);
  }
  return tensor("int64", dims, bytesOf(out));
}

/** An int32 tensor from whole numbers. */
export function int32(dims: readonly number[], values: ArrayLike<number>): Tensor {
  return tensor("int32", dims, bytesOf(Int32Array.from(values)));
}

/** An int32 tensor [count] of the numbers from 0 to count − 1. */
export function ascending(count: number): Tensor {
  const numbers = new Int32Array(count); // a vocabulary's rows are many
  for (let i = 0; i < count; i++) numbers[i] = i;
  return tensor("int32", [count], bytesOf(numbers));
}

/** A bool tensor. */
export function bool(dims: readonly number[], values: ArrayLike<boolean | number>): Tensor {
  return tensor("bool", dims, Uint8Array.from(Array.from(values), (v) => v ? 1 : 0));
}

/** bfloat16 bits to a number. */
function bfloat16(bits: number): number {
  SCRATCH.setUint32(0, bits << 16, true);
  return SCRATCH.getFloat32(0, true);
}
const SCRATCH = new DataView(new ArrayBuffer(4));

function aligned(t: Tensor, size: number): { buffer: ArrayBuffer; byteOffset: number } {
  if (t.bytes.byteOffset % size === 0) {
    return { buffer: t.bytes.buffer as ArrayBuffer, byteOffset: t.bytes.byteOffset };
  }
  return { buffer: t.bytes.slice().buffer as ArrayBuffer, byteOffset: 0 };
}

/** A loop: planning reads thousands of shapes, and `from` takes several times as long for each. */
function wholeNumbers(values: ArrayLike<bigint>): Float64Array {
  const numbers = new Float64Array(values.length);
  for (let i = 0; i < numbers.length; i++) numbers[i] = Number(values[i]);
  return numbers;
}

/**
 * All values as numbers, in row-major order; a view without a copy for float32 if the bytes are aligned.
 * 64-bit integers beyond 2^53 lose precision: use {@linkcode toBigInts} for those.
 */
export function toNumbers(t: Tensor): ArrayLike<number> & Iterable<number> {
  const count = elementCount(t.dims);
  switch (t.dtype) {
    case "float32": {
      const { buffer, byteOffset } = aligned(t, 4);
      return new Float32Array(buffer, byteOffset, count);
    }
    case "float64": {
      const { buffer, byteOffset } = aligned(t, 8);
      return new Float64Array(buffer, byteOffset, count);
    }
    case "float16": {
      const { buffer, byteOffset } = aligned(t, 2);
      return new Float16Array(buffer, byteOffset, count) as unknown as Float32Array;
    }
    case "bfloat16": {
      const { buffer, byteOffset } = aligned(t, 2);
      return Float32Array.from(new Uint16Array(buffer, byteOffset, count), bfloat16);
    }
    case "int64":
    case "uint64":
      return wholeNumbers(toBigInts(t));
    case "int32": {
      const { buffer, byteOffset } = aligned(t, 4);
      return new Int32Array(buffer, byteOffset, count);
    }
    case "uint32": {
      const { buffer, byteOffset } = aligned(t, 4);
      return new Uint32Array(buffer, byteOffset, count);
    }
    case "int16": {
      const { buffer, byteOffset } = aligned(t, 2);
      return new Int16Array(buffer, byteOffset, count);
    }
    case "uint16": {
      const { buffer, byteOffset } = aligned(t, 2);
      return new Uint16Array(buffer, byteOffset, count);
    }
    case "int8":
      return new Int8Array(t.bytes.buffer as ArrayBuffer, t.bytes.byteOffset, count);
    case "uint8":
    case "bool":
      return t.bytes;
    case "uint4":
    case "int4": {
      const out = new Int8Array(count);
      for (let i = 0; i < count; i++) {
        const nibble = (t.bytes[i >> 1] >> ((i & 1) * 4)) & 15;
        out[i] = t.dtype === "int4" && nibble > 7 ? nibble - 16 : nibble;
      }
      return out;
    }
    case "string":
      throw new BadInputError("A string tensor has no numbers");
  }
}

/** Values of an int64 or uint64 tensor. */
export function toBigInts(t: Tensor): BigInt64Array | BigUint64Array {
  const { buffer, byteOffset } = aligned(t, 8);
  const count = elementCount(t.dims);
  if (t.dtype === "int64") return new BigInt64Array(buffer, byteOffset, count);
  if (t.dtype === "uint64") return new BigUint64Array(buffer, byteOffset, count);
  throw new BadInputError(`Cannot read 64-bit integers: the tensor's type is ${t.dtype}`);
}
