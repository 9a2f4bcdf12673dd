/**
 * How activations and weights are rounded if a product runs in 8-bit integers.
 *
 * - `u8s8`: activations uint8 around 128, weights int8. The form that x86 has the fastest kernels for; those
 *   of AVX2 without VNNI add two products in 16 bits, and saturate.
 * - `u8u8`: both uint8 around 128. The fastest on x86 without VNNI that does not saturate.
 * - `s8s8`: both int8 around 0. The fast one on some arm64 processors; it saturates nowhere.
 * - `u8s8_paired`: `u8s8` with weights rounded so that no two products that are added in 16 bits saturate
 *   (`paired_rows.ts`): quicker than `u8u8` on x86 without VNNI, with steps about 1.45 times as large.
 *
 * The first three hold the same integers, so kernels that do not saturate give the same sums.
 */
import type { CodeType } from "../../graph/codes.ts";

/** Types of activations and weights of an integer product: `u8s8` is unsigned by signed bytes. */
export const INTEGER_FORMS = ["u8s8", "u8u8", "s8s8", "u8s8_paired"] as const;
/** One of {@linkcode INTEGER_FORMS}. */
export type IntegerForm = (typeof INTEGER_FORMS)[number];

/** The type that a form's weights have. */
export function weightType(form: IntegerForm): CodeType {
  return form === "u8u8" ? "uint8" : "int8";
}

/** The type that a form's activations have. */
export function activationType(form: IntegerForm): CodeType {
  return form === "s8s8" ? "int8" : "uint8";
}

/** Whether weights are rounded so that pairs of products fit in 16 bits. */
export function isPaired(form: IntegerForm): form is "u8s8_paired" {
  return form === "u8s8_paired";
}

/**
 * The form of products with weights that are not rounded anew, and of all where rounding needs its full
 * precision: `u8u8` instead of `u8s8_paired`.
 */
export function unpairedForm(form: IntegerForm): Exclude<IntegerForm, "u8s8_paired"> {
  return isPaired(form) ? "u8u8" : form;
}

/**
 * The forms that sum correctly if some saturate. A head's probabilities are unsigned whatever the form
 * (`plan/fast_head.ts`): what saturates with weights of a type does so in every form with them, unless they
 * are paired.
 */
export function rightForms(saturating: readonly IntegerForm[]): readonly IntegerForm[] {
  const wrong = (form: IntegerForm) =>
    saturating.some((one) =>
      weightType(one) === weightType(form) && isPaired(one) === isPaired(form)
    );
  return INTEGER_FORMS.filter((form) => !wrong(form));
}
