/** Chooses how a model's gradients are computed on a device. */
import { dequantFormFor } from "../ops/dequant_form.ts";
import { type Arithmetic, arithmeticOf, type ArithmeticSettings } from "../plan/arithmetic.ts";
import type { Runner } from "../runtime/runner.ts";
import { formsHere } from "./integer_forms.ts";

/** What a configuration asks for, and what was measured of the model on the device. */
export type ArithmeticChoice = Pick<
  ArithmeticSettings,
  "numeric" | "sliced" | "rotated" | "integerForm" | "dequantForm"
>;

/**
 * The arithmetic of a choice. What is absent is found out: integers have the first of `INTEGER_FORMS` that
 * sums correctly on the runner's processor; blocks are dequantised in the way that is usually quickest on its
 * release.
 */
export async function chooseArithmetic(
  runner: Runner,
  choice: ArithmeticChoice = {},
): Promise<Arithmetic> {
  const { numeric, sliced, rotated, integerForm, dequantForm } = choice;
  const inIntegers = numeric === "fast" || sliced;
  return arithmeticOf({
    numeric,
    sliced,
    rotated,
    integerForm: inIntegers ? integerForm ?? (await formsHere(runner))[0] : undefined,
    dequantForm: dequantForm ?? dequantFormFor(runner.version),
  });
}

/** The float arithmetic for what leaves nothing to choose: losses, and scales that are tuned. */
export function floatsOn(
  runner: Pick<Runner, "version">,
  dequantForm = dequantFormFor(runner.version),
): Arithmetic {
  return arithmeticOf({ dequantForm });
}
