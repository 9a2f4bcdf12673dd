/** The forms in which 4- and 8-bit blocks are dequantised. */

/**
 * How a graph dequantises weights that MatMulNBits packs.
 *
 * - `gather_block`: com.microsoft.GatherBlockQuantized over all rows. Its kernel reads uint8 data
 *   with zero points from ONNX Runtime 1.23 on, and is the fastest from 1.32 on.
 * - `arithmetic`: masks, shifts and a DequantizeLinear; every release has them, and on 1.30 they are quicker
 *   by far (`graft bench kernels` measures both). DequantizeLinear on uint4 is slower, and blocks of 4 bits
 *   need release 1.20.
 */
export type DequantForm = (typeof DEQUANT_FORMS)[number];

export const DEQUANT_FORMS = ["gather_block", "arithmetic"] as const;

/** The fastest form that a release of ONNX Runtime has, if nothing was measured. */
export function dequantFormFor([major, minor]: readonly number[]): DequantForm {
  return major > 1 || minor >= 32 ? "gather_block" : "arithmetic";
}
