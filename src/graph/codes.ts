/** 8-bit integers that stand for numbers around a zero point. */

/** Types of codes. */
export type CodeType = "int8" | "uint8";

/** The code of 0: the middle of each type's range. */
export const ZERO_POINTS: Readonly<Record<CodeType, number>> = { int8: 0, uint8: 128 };
