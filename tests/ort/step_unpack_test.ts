import { assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { withArithmetic } from "../helpers/arithmetic.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { adapted, batchOf, gradientsOf, rowsOf, type StepHow } from "../helpers/training_step.ts";

/** Tokens that both models' vocabularies have. */
const rows = (lengths: readonly number[]) =>
  rowsOf(lengths).map((row) => ({ ...row, ids: row.ids.map((id) => id % 128) }));
const batch = batchOf(rows([9, 6, 16]), 16, "causal");
const other = batchOf(rows([4, 12]), 12, "causal");

for (const name of ["tiny-llama-genai-int4", "dialects/llama-qdq-int4"]) {
  Deno.test(`accumulate() with weights taken apart once has the same loss and gradients to the bit, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const gradients = async (how: StepHow) => {
      const made = { ...adapted(readModel(modelDir(name))), objective: "causal" } as const;
      using step = new PlannedModel(
        withArithmetic({ runner, ...made, dequantForm: "arithmetic", headChunk: 100, ...how }),
      );
      const found = await gradientsOf(step, [batch, other]);
      // An evaluation reads the file's own bytes in between, and the next step what was made before.
      const { lossSum } = await step.evaluate(batch);
      return { found, lossSum, again: await gradientsOf(step, [batch, other]) };
    };
    const packed = await gradients({});
    assertEquals(packed.again, packed.found);
    assertEquals(await gradients({ readyWeights: true }), packed);
    assertEquals(
      (await gradients({ readyWeights: true, keepBytes: 1e9, kept: "whole" })).found,
      packed.found,
    );
  });
}
