/** Which forms of products in 8-bit integers a training step can use on a processor. */
import { INTEGER_FORMS, type IntegerForm, rightForms } from "../ops/internal/integer_form.ts";
import type { Runner } from "../runtime/runner.ts";
import { formSaturates } from "../runtime/saturates.ts";

/** The forms that sum correctly on a runner's processor, in the order of `INTEGER_FORMS`; never empty. */
export async function formsHere(runner: Runner): Promise<readonly IntegerForm[]> {
  const saturating: IntegerForm[] = [];
  for (const form of INTEGER_FORMS) {
    if (await formSaturates(runner, form)) saturating.push(form);
  }
  return rightForms(saturating);
}
