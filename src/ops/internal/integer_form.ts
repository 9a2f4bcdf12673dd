/**
 * How activations are rounded where a product runs in 8-bit integers; weights are int8 always.
 *
 * - `u8s8`: uint8 around 128. The one that x86 has fast kernels for.
 * - `s8s8`: int8 around 0. The fast one on some arm64 processors; nowhere does it saturate.
 *
 * Both hold the same integers, so that kernels which do not saturate give the same sums.
 */
export const INTEGER_FORMS = ["u8s8", "s8s8"] as const;
export type IntegerForm = (typeof INTEGER_FORMS)[number];
