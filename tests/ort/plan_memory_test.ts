import { assert, assertEquals } from "@std/assert";
import { callMemoryAt, callPeak } from "../../src/plan/call_memory.ts";
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

Deno.test("predictMemory() counts the largest calls of a sequence's spans beside each other", () => {
  const [first, last] = spanPlans();
  // So far behind the first that in step with each other none of their largest calls would meet.
  const { training } = last;
  const { calls, release } = training;
  const before = calls.map(() => calls[0]);
  const late = {
    ...training,
    calls: [...before, ...calls],
    release: [...before.map(() => []), ...release],
  };
  const plans: TrainingPlan[] = [first, { ...last, training: late }];
  const largest = plans.map(({ training: { calls, sizes, memory: { placements } } }) =>
    Math.max(...calls.map((call) => {
      const memory = callMemoryAt(call, sizes);
      const placed = [...call.fetches].filter(([, name]) => placements.has(name));
      return callPeak(memory, new Set(placed.map(([out]) => memory.outputs.get(out)!))).bytes;
    }))
  );
  const slabs = plans.map(({ training: { memory } }) => memory.bytes);
  const { savedBytes, temporaryBytes } = predict(plans);
  const least = [...largest, ...slabs].reduce((sum, bytes) => sum + bytes);
  assert(savedBytes + temporaryBytes >= least, `${savedBytes + temporaryBytes} < ${least}`);
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
