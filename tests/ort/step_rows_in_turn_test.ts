import { assert, assertEquals } from "@std/assert";
import { callMemoryAt, callPeak } from "../../src/plan/call_memory.ts";
import type { TrainingPlan } from "../../src/plan/plan.ts";
import { plannedRuns, type Schedule } from "../../src/plan/schedule.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { divideBatch } from "../../src/train/divide_batch.ts";
import { predictMemory } from "../../src/plan/memory.ts";
import { PROCESS_MEMORY } from "../../src/system/process_memory.ts";
import { PlanFamilies } from "../../src/train/plan_families.ts";
import { planOptionsFor } from "../../src/train/planned_options.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { sampled } from "../helpers/sampled.ts";
import {
  adapted,
  assertSame,
  batchOf,
  gradientsOf,
  rowsOf,
  STEP_MODELS,
  type StepHow,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

/** Several times what is computed at a time, and a rest. */
const LENGTH = 200;
const AT_ONCE = 64;

/** Calls that run over some rows at a time. */
const dividedRuns = (schedule: Schedule) =>
  plannedRuns(schedule).filter(({ runs }) => runs.length > 1);

const CASES: readonly (readonly [string, StepModelName, readonly number[], StepHow, number])[] = [
  ["exact", "tiny-llama-genai-int4", [LENGTH], { kept: "whole" }, 1e-5],
  ["all recomputed", "tiny-llama-genai-int4", [LENGTH], { kept: "whole", keepBytes: 0 }, 1e-5],
  ["thin stream", "tiny-llama-genai-int4", [LENGTH], { kept: "whole", thinStream: true }, 1e-5],
  ["fast", "tiny-llama-genai-int4", [LENGTH], { numeric: "fast" }, 1e-4],
  ["spans", "tiny-llama-genai-int4", [LENGTH], { kept: "whole", shards: 2 }, 1e-5],
  ["three spans", "tiny-llama-genai-int4", [240], { kept: "whole", shards: 3 }, 1e-5],
  ["padding", "tiny-llama-torch-fp32", [90, 37, 64], { kept: "whole" }, 1e-5],
  ["dropout", "tiny-llama-genai-int4", [LENGTH], { kept: "whole", dropout: 0.3 }, 1e-5],
  ["an encoder", "tiny-bert-dynamic-int8", [60, 64, 33], { kept: "whole" }, 1e-5],
];

for (const [title, name, lengths, how, tolerance] of sampled(CASES, 1)) {
  Deno.test(`rowsAtOnce leaves loss and gradient as they are, ${title}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    const batch = batchOf(rowsOf(lengths), Math.max(...lengths), STEP_MODELS[name]);
    const found = async (rowsAtOnce: number) => {
      using step = stepOn(runner, name, { ...how, rowsAtOnce }, { targetModules: ["all-linear"] });
      const numbers = await gradientsOf(step, [batch], 5);
      const { training } = step.trainingPlanOf(batch);
      return { numbers, divided: dividedRuns(training).length };
    };
    const [whole, some] = [await found(Infinity), await found(AT_ONCE)];
    assertEquals(whole.divided, 0);
    // What is dropped follows from a number's place in the whole.
    assertEquals(some.divided > 0, how.dropout === undefined);
    assertSame(some.numbers, whole.numbers, tolerance);
  });
}

/** A model's plans by how many rows calls compute at a time; gradients have many bytes. */
function planner(): (rowsAtOnce: number) => TrainingPlan {
  using runner = createOrtRunner({ threads: 1 });
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")), {
    ...{ targetModules: ["all-linear"], rank: 64 },
  });
  const options = { runner, model, trainable, objective: "causal" } as const;
  const { parts: [part], use } = divideBatch(
    options,
    batchOf(rowsOf([LENGTH]), LENGTH, "causal"),
  );
  const families = new PlanFamilies(model);
  return (rowsAtOnce) => families.planOf(planOptionsFor({ ...options, rowsAtOnce }, part, use));
}

Deno.test("PlanFamilies has plans of their own for other numbers of rows at once", () => {
  const planned = planner();
  const divided = [Infinity, AT_ONCE, Infinity].map((rowsAtOnce) =>
    dividedRuns(planned(rowsAtOnce).training).length > 0
  );
  assertEquals(divided, [false, true, false]);
});

Deno.test("rowsAtOnce divides what calls without attention take while they run", () => {
  const peaks = ({ training }: TrainingPlan) =>
    plannedRuns(training).map(({ runs }) =>
      Math.max(
        ...runs.map((call) => callPeak(callMemoryAt(call, training.sizes)).bytes),
      )
    );
  const planned = planner();
  const [some, whole] = [planned(AT_ONCE), planned(Infinity)];
  const [lower, before] = [peaks(some), peaks(whole)];
  const calls = plannedRuns(some.training);
  const divided = dividedRuns(some.training);
  for (const { planned: { label, graph } } of divided) {
    const i = calls.findIndex(({ planned }) => planned.label === label);
    assert(lower[i] < 0.8 * before[i], `${label}: ${lower[i]} of ${before[i]}`);
    assert(graph.nodes.every(({ opType }) => opType !== "Softmax"), label);
  }
  assert(divided.some(({ planned }) => planned.label.startsWith("backward ")));
});

Deno.test("predictMemory() counts each sum of gradients once, however many parts of the rows add to it", () => {
  const planned = planner();
  const predicted = (rowsAtOnce: number) =>
    predictMemory({
      process: PROCESS_MEMORY,
      plans: [planned(rowsAtOnce)],
      ...{ parameterBytes: 0, moments: 0, accumulates: false },
      ...{ weightBytes: 0, comparedBytes: 0, tokenizerBytes: 0 },
    }).temporaryBytes;
  const [whole, some] = [predicted(Infinity), predicted(AT_ONCE)];
  assert(some < 1.05 * whole, `${some} of ${whole}`);
});
