/** `OrtTypeInfo` and `OrtTensorTypeAndShapeInfo`: types and shapes of a session's inputs and outputs. */
import type { Api } from "./api.ts";
import { create } from "./status.ts";
import { type Handle, Out, readCString } from "./pointer.ts";
import { unwrap } from "./status.ts";

const ONNX_TYPE_TENSOR = 1;

/** Type and shape of a tensor. */
export interface TensorInfo {
  /** ONNX's number for the element type. */
  readonly elementType: number;
  /** -1 for an unknown size. */
  readonly dims: number[];
  /** Names of the dimensions, empty if they have none. */
  readonly symbols: string[];
}

/** Reads an `OrtTensorTypeAndShapeInfo`, which the caller still owns. */
export function readTensorInfo(api: Api, info: Handle, symbolic = false): TensorInfo {
  const out = new Out();
  unwrap(api, api.GetTensorElementType(info, out.cell));
  const elementType = out.int;
  unwrap(api, api.GetDimensionsCount(info, out.cell));
  const rank = out.number;
  const sizes = new BigInt64Array(Math.max(1, rank));
  unwrap(api, api.GetDimensions(info, sizes, BigInt(rank)));
  const dims = Array.from(sizes.subarray(0, rank), Number);
  if (!symbolic) return { elementType, dims, symbols: [] };
  const names = new BigUint64Array(Math.max(1, rank));
  unwrap(api, api.GetSymbolicDimensions(info, names, BigInt(rank)));
  const symbols = Array.from(
    names.subarray(0, rank),
    (address) => readCString(Deno.UnsafePointer.create(address)),
  );
  return { elementType, dims, symbols };
}

/** Reads an `OrtTypeInfo` and releases it; `undefined` for sequences, maps and optionals. */
export function takeTypeInfo(api: Api, typeInfo: Handle): TensorInfo | undefined {
  try {
    const out = new Out();
    unwrap(api, api.GetOnnxTypeFromTypeInfo(typeInfo, out.cell));
    if (out.int !== ONNX_TYPE_TENSOR) return undefined;
    // The type info owns the tensor's info, which is not released separately.
    const info = create(api, (cell) => api.CastTypeInfoToTensorInfo(typeInfo, cell));
    return readTensorInfo(api, info, true);
  } finally {
    api.ReleaseTypeInfo(typeInfo);
  }
}
