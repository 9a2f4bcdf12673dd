import { assert, assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { compareForward, HALF_TOLERANCE } from "../../src/train/compare_forward.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { halfModel, roundedModel } from "../helpers/half_model.ts";
import {
  adapted,
  batchOf,
  gradientDistance,
  gradientsOf,
  rowsOf,
} from "../helpers/training_step.ts";

const BATCH = batchOf(rowsOf([9, 6]), 9, "causal");

for (const name of ["tiny-llama-torch-fp32", "tiny-llama-genai-fp32", "tiny-llama-genai-int4"]) {
  Deno.test(`a step through ${name} in float16 has the gradients of the same weights in float32`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = readModel(modelDir(name));
    const found = adapted(halfModel(base));
    const expected = adapted(roundedModel(base));
    using step = new PlannedModel({ runner, ...found, objective: "causal" });
    using reference = new PlannedModel({ runner, ...expected, objective: "causal" });
    assertEquals(step.parameters.map(({ value }) => value.dtype), [
      ...step.parameters.map(() => "float32"),
    ]);
    const numbers = await gradientsOf(reference, [BATCH]);
    const { parameter, error } = gradientDistance(await gradientsOf(step, [BATCH]), numbers);
    assert(error <= 1e-4, `gradient of ${parameter} off by ${error}`);
  });
}

for (const name of ["tiny-llama-torch-fp32", "tiny-llama-genai-fp32"]) {
  Deno.test(`compareForward() allows ${name} in float16 its own rounding, and says so`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const made = adapted(halfModel(readModel(modelDir(name))));
    using step = new PlannedModel({ runner, ...made, objective: "causal" });
    const { half, dynamic, relativeDifference } = await compareForward(
      runner,
      made.model,
      step,
      BATCH,
    );
    assertEquals([half, dynamic], [true, false]);
    assert(relativeDifference > 1e-5 && relativeDifference < HALF_TOLERANCE / 2);
  });
}
