import { assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { PlannedModelOptions } from "../../src/train/planned_options.ts";
import { batchOf, gradientsOf, rowsOf, STEP_MODELS, stepOn } from "../helpers/training_step.ts";

const name = "tiny-llama-genai-int4";
const batch = batchOf(rowsOf([9, 6, 16]), 16, STEP_MODELS[name]);
const other = batchOf(rowsOf([4, 12]), 12, STEP_MODELS[name]);

Deno.test("accumulate() with weights taken apart once has the same loss and gradients to the bit", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const gradients = async (how: Partial<PlannedModelOptions>) => {
    using step = stepOn(runner, name, { dequantForm: "arithmetic", headChunk: 100, ...how });
    const found = await gradientsOf(step, [batch, other]);
    // An evaluation reads the file's own bytes in between, and the next step what was made before.
    const { lossSum } = await step.evaluate(batch);
    return { found, lossSum, again: await gradientsOf(step, [batch, other]) };
  };
  const packed = await gradients({});
  assertEquals(packed.again, packed.found);
  assertEquals(await gradients({ unpack: true }), packed);
  assertEquals(
    (await gradients({ unpack: true, keepBytes: 1e9, halves: false })).found,
    packed.found,
  );
});
