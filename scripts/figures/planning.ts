/**
 * Prints what new batch shapes cost a language model's training: planning, finding sessions,
 * compiling. The first shape compiles, later ones should find nearly all of their sessions there.
 * Beside them, what planning takes that looks at every one of the model's blocks, and what a plan takes
 * that comes of another one for other numbers of rows.
 *
 * usage: deno run -A scripts/figures/planning.ts [MODEL.onnx] (default: SmolLM2 in ../shared)
 */
import { dequantFormFor } from "../../src/ops/dequant_form.ts";
import { findModules } from "../../src/lora/modules.ts";
import { DEFAULT_LORA, initAdapter, inject, resolveTargets } from "../../src/lora/mod.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { neighbourPlans } from "../../src/plan/open_plan.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { resizePlan, templateRows } from "../../src/plan/resize_plan.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlanCache } from "../../src/train/plan_cache.ts";

/** Length, target rows and packed rows of batches of eight, as the e2e data has them. */
const SHAPES = [
  [128, 256, 768],
  [160, 320, 768],
  [112, 224, 704],
  [112, 256, 640],
  [128, 320, 832],
  [160, 256, 704],
  [96, 192, 640],
  [128, 224, 704],
];
const path = Deno.args[0] ?? "../shared/models/smollm2-135m-instruct-int4/model.onnx";
using base = loadOnnx(path);
using runner = createOrtRunner({ spinning: false });
using plans = new PlanCache(runner);
const sites = resolveTargets(findModules(base.model), DEFAULT_LORA);
const adapters = initAdapter(sites, DEFAULT_LORA.init, Random.fromSeed(0));
const { model, trainable } = inject(base.model, sites, adapters);
const options = {
  batch: 8,
  trainable: new Set(trainable.keys()),
  arithmetic: arithmeticOf({ dequantForm: dequantFormFor(runner.version) }),
};
for (const [length, targetRows, packedRows] of SHAPES) {
  const began = performance.now();
  const before = plans.sessionCount;
  let planned = began;
  const { plan } = plans.get(
    [length, targetRows, packedRows].join(),
    () => {
      const made = planTraining(model, { ...options, length, targetRows, packedRows });
      planned = performance.now();
      return made;
    },
    (plan) => neighbourPlans(model, plan),
  );
  const found = performance.now();
  for (const call of plan.training.calls) await plans.session(call, "pool");
  const compiled = performance.now();
  planTraining(model, {
    ...options,
    length,
    targetRows,
    packedRows,
    passControl: { without: new Set(["fold-blocks"]) },
  });
  const wholeMs = Math.round(performance.now() - compiled);
  const rows = { targetRows, packedRows };
  const template = planTraining(model, {
    ...options,
    length,
    ...templateRows({ ...options, length, ...rows }),
  });
  const templated = performance.now();
  const resized = resizePlan(template, rows);
  const resizeMs = Math.round(performance.now() - templated);
  if (resized === undefined) throw new Error("A template has constants of fixed size");
  console.log(JSON.stringify({
    length,
    targetRows,
    packedRows,
    planMs: Math.round(planned - began),
    findMs: Math.round(found - planned),
    compileMs: Math.round(compiled - found),
    wholeMs,
    resizeMs,
    sessionsCompiled: plans.sessionCount - before,
  }));
}
