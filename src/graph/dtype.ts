/**
 * Element types of tensors, under the names ONNX Runtime's Python API uses.
 *
 * Source: `TensorProto.DataType` of the ONNX specification and `ONNXTensorElementDataType` of
 * ONNX Runtime's C API, which number the types alike.
 */
import { BadInputError } from "../errors.ts";

/** An element type that graft reads, writes or passes through. */
export type DataType =
  | "float32"
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "int32"
  | "int64"
  | "string"
  | "bool"
  | "float16"
  | "float64"
  | "uint32"
  | "uint64"
  | "bfloat16"
  | "uint4"
  | "int4";

/** ONNX's number for each element type. */
export const ONNX_TYPE: Readonly<Record<DataType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
  uint4: 21,
  int4: 22,
};

const BY_NUMBER = new Map<number, DataType>(
  Object.entries(ONNX_TYPE).map(([name, number]) => [number, name as DataType]),
);

const BITS: Readonly<Record<Exclude<DataType, "string">, number>> = {
  float32: 32,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  int32: 32,
  int64: 64,
  bool: 8,
  float16: 16,
  float64: 64,
  uint32: 32,
  uint64: 64,
  bfloat16: 16,
  uint4: 4,
  int4: 4,
};

/** The element type behind an ONNX type number, `undefined` for one graft does not know. */
export function dataTypeOf(onnxNumber: number): DataType | undefined {
  return BY_NUMBER.get(onnxNumber);
}

/** Bits of one element; throws a `BadInputError` for strings, which have no fixed size. */
export function bitsOf(dtype: DataType): number {
  if (dtype === "string") throw new BadInputError("String tensors have no fixed element size");
  return BITS[dtype];
}

/** Bytes of a packed tensor of `count` elements; 4-bit types hold two elements per byte. */
export function byteLength(dtype: DataType, count: number): number {
  return Math.ceil(count * bitsOf(dtype) / 8);
}

/** Whether gradients can flow through values of this type. */
export function isFloating(dtype: DataType): boolean {
  return dtype === "float32" || dtype === "float16" || dtype === "bfloat16" || dtype === "float64";
}
