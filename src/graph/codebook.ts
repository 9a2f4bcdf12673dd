/**
 * The 4-bit codebooks of bitsandbytes: the value of each code in a block whose largest magnitude is 1.
 *
 * Sources: NF4 by Dettmers et al. 2023 (arXiv:2305.14314), appendix E; FP4 has a sign, two bits of exponent
 * and one of mantissa, as multiples of its largest number, 12, with 1/16 for the smallest.
 */
import { intAttribute } from "./attributes.ts";
import type { Node } from "./types.ts";

const FP4_MAGNITUDES = [0, 0.0625, 8, 12, 4, 6, 2, 3].map((magnitude) => magnitude / 12);

/** Values by code. */
export const CODEBOOKS: Readonly<Record<"fp4" | "nf4", Float32Array>> = {
  fp4: Float32Array.from([...FP4_MAGNITUDES, ...FP4_MAGNITUDES.map((magnitude) => -magnitude)]),
  nf4: Float32Array.from([
    ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453],
    ...[-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0],
    ...[0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
    ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
  ]),
};

/** Name of a table of 16 values that 4-bit codes stand for. */
export type Codebook = keyof typeof CODEBOOKS;

/** The codebook of a `com.microsoft.MatMulBnb4` node; `undefined` for a number that names none. */
export function codebookOf(node: Node): Codebook | undefined {
  const types: readonly Codebook[] = ["fp4", "nf4"];
  return types[intAttribute(node, "quant_type", -1)];
}
