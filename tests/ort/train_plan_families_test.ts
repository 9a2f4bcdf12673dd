import { assert, assertEquals } from "@std/assert";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planOverSizes } from "../../src/plan/plan.ts";
import { PlanFamilies } from "../../src/train/plan_families.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { planAtBatch } from "../helpers/plan_at_batch.ts";
import { planText } from "../helpers/plan_text.ts";
import { adapted } from "../helpers/training_step.ts";

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
  families.clear();
  families.planOf(optionsOf(40, 200));
  assertEquals(made.length, 5);
});

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
