/** Converts token ids, masks and positions to the types of a model's inputs. */
import { BadInputError } from "../errors.ts";
import type { DataType } from "./dtype.ts";
import { bool, float32, int32, type Tensor, toNumbers } from "./tensor.ts";

/** Types of a model's token inputs that graft feeds; int64 is what most exporters write. */
export const TOKEN_TYPES: readonly DataType[] = ["int64", "int32", "float32", "bool"];

/**
 * Whole numbers in another type.
 *
 * @param value int64, each number such that `dtype` holds it
 * @param dtype of {@linkcode TOKEN_TYPES}
 * @returns the tensor itself if it has that type
 */
export function inTokenType(value: Tensor, dtype: DataType): Tensor {
  if (dtype === value.dtype) return value;
  const numbers = toNumbers(value);
  switch (dtype) {
    case "int32":
      return int32(value.dims, numbers);
    case "float32":
      return float32(value.dims, numbers);
    case "bool":
      return bool(value.dims, numbers);
    default:
      throw new BadInputError(`Tokens cannot be ${dtype}`);
  }
}
