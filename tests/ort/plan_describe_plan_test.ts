import { assert, assertEquals } from "@std/assert";
import { arithmeticOf, formatArithmetic } from "../../src/plan/arithmetic.ts";
import { describePlan } from "../../src/plan/describe_plan.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { adapted, STEP_MODELS, type StepModelName } from "../helpers/training_step.ts";

function describe(name: StepModelName, options: Partial<PlanOptions>) {
  const { model, trainable } = adapted(readModel(modelDir(name)));
  const targets = STEP_MODELS[name] === "causal" ? { targetRows: 96 } : {};
  const plan = planTraining(model, {
    ...{ batch: 4, length: 48, trainable, passes: ["training"], ...targets },
    ...options,
  });
  return { plan, found: describePlan(plan) };
}

for (const name of Object.keys(STEP_MODELS) as StepModelName[]) {
  for (const numeric of ["exact", "fast"] as const) {
    for (const keepBytes of [0, 20_000, 1e9]) {
      Deno.test(`describePlan() marks as kept what a plan says is saved, ${name}, ${numeric}, ${keepBytes}`, () => {
        const arithmetic = arithmeticOf({ numeric });
        const { plan, found } = describe(name, { arithmetic, keepBytes, headChunk: 100 });
        const kept = found.calls.flatMap(({ leaves }) => leaves).filter(({ isKept }) => isKept);
        assertEquals(kept.reduce((sum, { bytes }) => sum + bytes, 0), plan.savedBytes);
        assertEquals(found.arithmetic, formatArithmetic(arithmetic));
        assertEquals(found.calls.length, plan.training.calls.length);
        assertEquals(found.sessions, new Set(plan.training.calls.map(({ key }) => key)).size);
      });
    }
  }
}

Deno.test("describePlan() says of each tensor who leaves and who reads it", () => {
  const { found: { calls, preprocessing } } = describe("tiny-llama-genai-int4", {
    arithmetic: arithmeticOf({ dequantForm: "arithmetic", readyWeights: true }),
    headChunk: 100,
  });
  for (const { number, leaves } of calls) {
    for (const { name, readBy } of leaves) {
      for (const reader of readBy) {
        const read = calls[reader - 1].reads.find((tensor) => tensor.name === name)!;
        assertEquals(read.from, number, name);
      }
    }
  }
  const made = preprocessing.flatMap(({ leaves }) => leaves);
  assert(made.length > 0);
  for (const { name, readBy } of made) {
    assert(readBy.length > 0, name);
    const read = calls[readBy[0] - 1].reads.find((tensor) => tensor.name === name)!;
    assertEquals(read.from, "preprocessed");
  }
  const from = new Set(calls.flatMap(({ reads }) => reads.map(({ from }) => from)));
  for (const kind of ["weight", "preprocessed", "trained", "input", "sum"] as const) {
    assert(from.has(kind), kind);
  }
  const results = calls.flatMap(({ leaves }) => leaves).filter(({ readBy }) => readBy.length === 0);
  assert(results.every(({ name }) => name === "loss" || name.startsWith("grad:")), String(results));
});

Deno.test("describePlan() marks passes that are left out", () => {
  const { found: { passes } } = describe("tiny-llama-torch-fp32", {
    passControl: { without: new Set(["join-gates"]) },
  });
  assertEquals(
    passes.filter(({ isLeftOut }) => isLeftOut).map(({ name }) => name),
    ["join-gates"],
  );
});
