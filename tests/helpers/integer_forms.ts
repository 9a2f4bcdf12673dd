/** Which products in 8-bit integers add up right on the processor that runs the tests. */
import { rightForms } from "../../src/bench/kernel_table.ts";
import {
  activationType,
  INTEGER_FORMS,
  type IntegerForm,
  weightType,
} from "../../src/ops/internal/integer_form.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { saturates } from "../../src/runtime/saturates.ts";

async function formsHere(): Promise<readonly IntegerForm[]> {
  using runner = createOrtRunner({ threads: 1 });
  const saturating: IntegerForm[] = [];
  for (const form of INTEGER_FORMS) {
    if (await saturates(runner, activationType(form), weightType(form))) saturating.push(form);
  }
  return rightForms(saturating);
}

/** The forms that do not saturate. */
export const RIGHT_FORMS = await formsHere();

/**
 * Whether ONNX Runtime multiplies unsigned activations by signed weights without saturating: x86
 * without VNNI does not, and there the logits of models that hold such products are others.
 */
export const U8S8_IS_RIGHT = RIGHT_FORMS.includes("u8s8");
