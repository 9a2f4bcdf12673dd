/** Integer codes of quantised numbers, and their zero points. */
import { BadInputError } from "../errors.ts";
import type { DataType } from "./dtype.ts";

/** Types of codes of 8 bits. */
export type CodeType = "int8" | "uint8";

/** The code of 0: the middle of each type's range. */
export const ZERO_POINTS: Readonly<Record<CodeType, number>> = { int8: 0, uint8: 128 };

/** Code range of an integer type. */
export function codeRange(dtype: DataType): { readonly min: number; readonly max: number } {
  switch (dtype) {
    case "int8":
      return { min: -128, max: 127 };
    case "uint8":
      return { min: 0, max: 255 };
    case "int4":
      return { min: -8, max: 7 };
    case "uint4":
      return { min: 0, max: 15 };
    default:
      throw new BadInputError(`Cannot read quantised codes: type ${dtype} is not supported`);
  }
}
