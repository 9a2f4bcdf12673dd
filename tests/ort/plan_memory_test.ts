import { assert, assertEquals } from "@std/assert";
import { predictMemory, type ProcessMemory } from "../../src/plan/memory.ts";
import { planTraining, type TrainingPlan } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PROCESS_MEMORY } from "../../src/system/process_memory.ts";
import { divideBatch } from "../../src/train/divide_batch.ts";
import { planOptionsFor } from "../../src/train/planned_options.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { adapted, batchOf, rowsOf } from "../helpers/training_step.ts";

/** The plans of a sequence's two spans, the first of which has more tokens. */
function spanPlans(): TrainingPlan[] {
  using runner = createOrtRunner({ threads: 1 });
  const made = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const options = { runner, ...made, objective: "causal", shards: 2, keepBytes: 1 } as const;
  const { parts, use } = divideBatch(options, batchOf(rowsOf([256]), 256, "causal"));
  return parts.map((part) => planTraining(made.model, planOptionsFor(options, part, use)));
}

function predict(plans: readonly TrainingPlan[], process: ProcessMemory = PROCESS_MEMORY) {
  return predictMemory({
    process,
    plans,
    ...{ parameterBytes: 0, moments: 0, accumulates: false },
    ...{ weightBytes: 0, comparedBytes: 0, tokenizerBytes: 0 },
  });
}

Deno.test("predictMemory() counts for each span of a sequence what that one keeps", () => {
  const [first, last] = spanPlans();
  assert(first.options.packedRows! > last.options.packedRows!);
  const savedBytes = first.savedBytes + last.savedBytes;
  assertEquals(predict([first, last]).savedBytes, savedBytes);
  assert(predict([first, first]).savedBytes > savedBytes);
});

Deno.test("predictMemory() counts for the process what it is told", () => {
  const plans = spanPlans();
  const base = predict(plans).baseBytes;
  for (
    const [what, times] of Object.entries({ programBytes: 1, boundPlanBytes: 1, shardBytes: 2 })
  ) {
    const more = { ...PROCESS_MEMORY, [what]: PROCESS_MEMORY[what as "programBytes"] + 1000 };
    assertEquals(predict(plans, more).baseBytes, base + 1000 * times, what);
  }
});
