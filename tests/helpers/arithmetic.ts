/** Arithmetics of tests, said in the words of settings beside other options. */
import { dequantFormFor } from "../../src/ops/dequant_form.ts";
import {
  type Arithmetic,
  arithmeticOf,
  type ArithmeticSettings,
} from "../../src/plan/arithmetic.ts";
import type { Runner } from "../../src/runtime/runner.ts";

/** Settings of an arithmetic, each of which may stand among other options. */
export type ArithmeticWords = ArithmeticSettings;

/**
 * Options whose words for arithmetic have become one value. Without a form products in integers have
 * `u8s8` where nothing runs, and beside a runner `u8u8`, which saturates on no processor.
 */
export function withArithmetic<T extends ArithmeticWords>(
  options: T,
  runner?: Pick<Runner, "version">,
): Omit<T, keyof ArithmeticWords> & { readonly arithmetic: Arithmetic } {
  const {
    numeric,
    sliced,
    rotated,
    integerForm,
    dequantForm,
    kept,
    readyWeights,
    flushed,
    ...rest
  } = options;
  return {
    arithmetic: arithmeticOf({
      numeric,
      sliced,
      rotated,
      integerForm: integerForm ?? (runner && "u8u8"),
      dequantForm: dequantForm ?? (runner && dequantFormFor(runner.version)),
      kept,
      readyWeights,
      flushed,
    }),
    ...rest,
  };
}
