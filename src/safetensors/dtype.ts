/** Element types of safetensors files. Source: the `Dtype` enumeration of the safetensors crate. */
import type { DataType } from "../graph/dtype.ts";

/** In the reverse order in which Python's writer lays out tensors: wider types come first. */
const ORDER = [
  ["BOOL", "bool"],
  ["U8", "uint8"],
  ["I8", "int8"],
  ["I16", "int16"],
  ["U16", "uint16"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
  ["I32", "int32"],
  ["U32", "uint32"],
  ["F32", "float32"],
  ["F64", "float64"],
  ["I64", "int64"],
  ["U64", "uint64"],
] as const satisfies readonly (readonly [string, DataType])[];

const BY_NAME = new Map<string, DataType>(ORDER);
const NAME = new Map<DataType, string>(ORDER.map(([name, dtype]) => [dtype, name]));
const RANK = new Map<DataType, number>(ORDER.map(([, dtype], i) => [dtype, i]));

/** Names of the supported types, for messages. */
export const SAFETENSORS_TYPES: readonly string[] = ORDER.map(([name]) => name);

/** graft's type for a name such as `F32`. */
export function dtypeNamed(name: string): DataType | undefined {
  return BY_NAME.get(name);
}

/** The name of a type, `undefined` for one the format lacks (4-bit integers, strings). */
export function nameOfDtype(dtype: DataType): string | undefined {
  return NAME.get(dtype);
}

/** Position of a type in the writer's order. */
export function rankOfDtype(dtype: DataType): number {
  return RANK.get(dtype) ?? -1;
}
