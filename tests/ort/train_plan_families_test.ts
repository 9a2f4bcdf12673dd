import { assert, assertEquals } from "@std/assert";
import { memoryPredictor } from "../../src/finetune/memory_predictor.ts";
import { changed } from "../../src/plan/arithmetic.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planOverSizes } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { comparedPart } from "../../src/train/compare_forward.ts";
import { PlanFamilies } from "../../src/train/plan_families.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { arithmeticOfGradients } from "../../src/train/planned_options.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { planAtBatch } from "../helpers/plan_at_batch.ts";
import { planText } from "../helpers/plan_text.ts";
import { adapted, batchOf, rowsOf } from "../helpers/training_step.ts";

const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
const optionsOf = (
  length: number,
  packedRows: number,
  more: Partial<PlanOptions> = {},
): PlanOptions => ({
  ...{ batch: 8, length, packedRows, targetRows: 96, trainable, passes: ["training"] },
  ...more,
});

/** Plans of a model, and for which batches they were made. */
function counted() {
  const made: PlanOptions[] = [];
  const families = new PlanFamilies(model, (model, options) => {
    made.push(options);
    return planOverSizes(model, options);
  });
  return { families, made };
}

Deno.test("PlanFamilies.planOf() plans once for all batches at which the planner decides the same", () => {
  const { families, made } = counted();
  for (const [length, rows] of [[40, 200], [36, 216], [24, 150], [40, 300]]) {
    const { options, training } = families.planOf(optionsOf(length, rows));
    assertEquals([options.length, options.packedRows], [length, rows]);
    assert(training.memory.bytes > 0);
  }
  assertEquals(made.length, 1);
  assertEquals(families.count, 1);
  // Attention in more blocks, one sequence alone, another setting.
  families.planOf(optionsOf(100, 500));
  families.planOf(optionsOf(40, 30, { batch: 1 }));
  families.planOf(optionsOf(40, 200, { keepBytes: 1e9 }));
  assertEquals(made.length, 4);
});

Deno.test("PlanFamilies.keep() drops the plans of other kinds", () => {
  const { families, made } = counted();
  families.planOf(optionsOf(40, 200));
  families.planOf(optionsOf(40, 200, { keepBytes: 1e9 }));
  families.keep(({ keepBytes }) => keepBytes === 1e9);
  assertEquals(families.count, 1);
  families.planOf(optionsOf(40, 200, { keepBytes: 1e9 }));
  assertEquals(made.length, 2);
  families.planOf(optionsOf(40, 200));
  assertEquals(made.length, 3);
});

for (const shards of [1, 2]) {
  Deno.test(`PlannedModel trains with the plans that its memory was predicted from, ${shards} at once`, async () => {
    const { families: plans, made } = counted();
    using runner = createOrtRunner({ threads: 2, spinning: false });
    const options = { runner, model, trainable, objective: "causal", plans } as const;
    const batch = batchOf(rowsOf([12, 9, 14, 7]), 16, "causal");
    const [keepBytes, readyWeights] = [1e6, true];
    memoryPredictor({
      ...{ options, shards, shapes: 1, weightBytes: 0, tokenizerBytes: 0 },
      config: {
        ...{ train: true, numeric: "exact", optimizer: "adamw", loadBest: false },
        ...{ gradAccumulationSteps: 1, batchSize: 4 },
      },
    })(batch, keepBytes, readyWeights);
    const predicted = made.length;
    const arithmetic = changed(arithmeticOfGradients(options), { readyWeights });
    using step = new PlannedModel({ ...options, keepBytes, shards, arithmetic });
    await step.logits(comparedPart(batch));
    const { lossSum } = await step.accumulate(batch, 0);
    assert(lossSum > 0);
    assert(step.trainingPlanOf(batch).savedBytes > 0);
    step.forgetComparisons();
    await step.accumulate(batch, 0);
    assertEquals(made.length, predicted);
  });
}

Deno.test("PlanFamilies.planOf() plans once for a half octave of rows where more would have no room to keep all", () => {
  const { families, made } = counted();
  const all = families.planOf(optionsOf(40, 200, { keepBytes: 1e9 })).savedBytes;
  const keepBytes = Math.floor(all / 2);
  made.length = 0;
  for (const rows of [194, 200, 208, 250, 256]) families.planOf(optionsOf(40, rows, { keepBytes }));
  assertEquals(made.length, 1);
  families.planOf(optionsOf(40, 60, { keepBytes }));
  assertEquals(made.length, 2, "of fewer rows more segments are kept");
});

Deno.test("PlanFamilies.planOf() gives the same plan whatever was planned before", () => {
  const batches = [[40, 200], [36, 216], [100, 500], [24, 150]].map(([length, rows]) =>
    optionsOf(length, rows, { keepBytes: 1e6 })
  );
  const textsOf = (order: readonly PlanOptions[]) => {
    const families = new PlanFamilies(model);
    const texts = order.map((options) => {
      const plan = families.planOf(options);
      return [options.length, planText(model, planAtBatch(model, plan)).join("\n")] as const;
    });
    return texts.sort(([a], [b]) => a - b);
  };
  assertEquals(textsOf(batches), textsOf(batches.toReversed()));
});
