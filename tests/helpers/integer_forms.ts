/** Which products in 8-bit integers add up right on the processor that runs the tests. */
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { formsHere } from "../../src/train/integer_forms.ts";

async function rightForms() {
  using runner = createOrtRunner({ threads: 1 });
  return await formsHere(runner);
}

/** The forms that do not saturate. */
export const RIGHT_FORMS = await rightForms();

/**
 * Whether ONNX Runtime multiplies unsigned activations by signed weights without saturating: x86
 * with AVX2 and without VNNI does not, and there the logits of models that hold such products are
 * others.
 */
export const U8S8_IS_RIGHT = RIGHT_FORMS.includes("u8s8");
