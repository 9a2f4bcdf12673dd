import { assert, assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Model } from "../../src/graph/types.ts";
import { bindPlan } from "../../src/plan/bind_plan.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planOverSizes, planTraining, type TrainingPlan } from "../../src/plan/plan.ts";
import { SIZE_NAMES } from "../../src/plan/step_sizes.ts";
import { PlanCache } from "../../src/train/plan_cache.ts";
import { oracleModel } from "../helpers/oracle.ts";

/** A plan whose sessions serve its batch alone. */
function planInNumbers(model: Model, options: PlanOptions): TrainingPlan {
  return bindPlan(planOverSizes(model, options, SIZE_NAMES), options)!;
}

Deno.test("PlanCache keeps the sessions and tensors of the plans used last, and no others", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using cache = new PlanCache(runner, 2);
  const { model, trainable } = oracleModel("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  const planOf = (length: number) =>
    cache.get(
      String(length),
      () => planInNumbers(model, { batch: 2, length, targetRows: 4, trainable }),
    );
  const compileAll = async (length: number) => {
    const { plan } = planOf(length);
    await Promise.all(plan.training.calls.map((call) => cache.session(call, "pool")));
    return cache.sessionCount;
  };
  const one = await compileAll(8);
  const two = await compileAll(16);
  assert(two > one);
  planOf(8);
  // 24 takes the place of 16, which was used longest ago: the sessions of 8 are still there.
  const kept = planOf(8).plan.training.calls[0];
  const before = await cache.session(kept, "pool");
  assertEquals(await compileAll(24), two);
  assert(await cache.session(kept, "pool") === before);
  assertEquals(await compileAll(16), two);
});

Deno.test("PlanCache.keep() frees what only other plans have needed", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using cache = new PlanCache(runner, 8);
  const { model, trainable } = oracleModel("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  const planOf = (length: number) =>
    cache.get(
      String(length),
      () => planInNumbers(model, { batch: 2, length, targetRows: length / 2, trainable }),
    ).plan;
  const [kept, dropped] = [planOf(8), planOf(16)];
  const [call] = kept.training.calls;
  const before = await cache.session(call, "pool");
  const alone = cache.sessionCount;
  for (const other of dropped.training.calls) await cache.session(other, "one");
  assert(cache.sessionCount > alone);
  cache.keep(({ options }) => options.length === 8);
  assertEquals(cache.sessionCount, alone);
  assert(await cache.session(call, "pool") === before);
  assert(planOf(8) === kept);
  assert(planOf(16) !== dropped, "made anew");
});

Deno.test("PlanCache compiles a call once for one thread and once for the pool", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using cache = new PlanCache(runner);
  const { model, trainable } = oracleModel("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  const { plan } = cache.get(
    "",
    () => planTraining(model, { batch: 2, length: 8, targetRows: 4, trainable }),
  );
  const [call] = plan.training.calls;
  const found = [];
  for (const threads of ["one", "pool", "one", "pool"] as const) {
    found.push(await cache.session(call, threads));
  }
  assert(found[0] !== found[1]);
  assert(found[0] === found[2] && found[1] === found[3]);
  assertEquals(cache.sessionCount, 2);
});

Deno.test("PlanCache shares wrapped weights between plans", () => {
  using runner = createOrtRunner({ threads: 1 });
  using cache = new PlanCache(runner);
  const { model, trainable } = oracleModel("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
  const [a, b] = [8, 16].map((length) =>
    cache.get(
      String(length),
      () => planTraining(model, { batch: 2, length, targetRows: 4, trainable }),
    ).constants
  );
  const weights = [...model.graph.initializers.keys()].filter((name) => a.has(name));
  assert(weights.length > 10);
  for (const name of weights) assert(a.get(name) === b.get(name), name);
});
