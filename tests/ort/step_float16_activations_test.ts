import { assert, assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import {
  batchOf,
  gradientDistance,
  gradientsOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

for (const [model, objective] of Object.entries(STEP_MODELS)) {
  const name = model as StepModelName;
  const batch = batchOf(rowsOf([5, 12, 9, 3, 16, 7]), 16, objective);

  Deno.test(`accumulate() with wide activations kept in float16 stays within 1e-3, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using halved = stepOn(runner, name, { keepBytes: 1e9 });
    using whole = stepOn(runner, name, { keepBytes: 1e9, kept: "whole" });
    const { savedBytes } = halved.planOf(batch);
    assert(savedBytes < 0.9 * whole.planOf(batch).savedBytes, `${savedBytes} bytes`);
    const found = await gradientsOf(halved, [batch]);
    const expected = await gradientsOf(whole, [batch]);
    assertEquals(found.loss, expected.loss);
    const { parameter, error } = gradientDistance(found, expected);
    assert(error > 0 && error <= 1e-3, `gradient of ${parameter} off by ${error}`);
    // What overflowed in float16 is kept whole after this, and there is nothing more to widen.
    assertEquals([halved.widen(), halved.widen(), whole.widen()], [true, false, false]);
    assertEquals(gradientDistance(await gradientsOf(halved, [batch]), expected).error, 0);
  });
}
