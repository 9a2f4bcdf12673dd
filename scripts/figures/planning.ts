/**
 * Prints what new batch shapes cost a language model's training: planning, or finding the plan that serves
 * a shape, the memory that stays with it and the nodes of its graphs; compiling. The first shape plans and
 * compiles, later ones should find nearly all there. Beside them, what planning takes that looks at every
 * one of the model's blocks.
 *
 * usage: deno run -A scripts/figures/planning.ts [MODEL.onnx] (default: SmolLM2 in ../shared)
 */
import { dequantFormFor } from "../../src/ops/dequant_form.ts";
import { findModules } from "../../src/lora/modules.ts";
import { DEFAULT_LORA, initAdapter, inject, resolveTargets } from "../../src/lora/mod.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { graphNodes } from "../../src/plan/memory.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { Random } from "../../src/random.ts";
import { collectGarbage } from "../../src/system/memory.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlanCache } from "../../src/train/plan_cache.ts";
import { PlanFamilies } from "../../src/train/plan_families.ts";

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
const families = new PlanFamilies(model);
const options = {
  batch: 8,
  trainable: new Set(trainable.keys()),
  arithmetic: arithmeticOf({ dequantForm: dequantFormFor(runner.version) }),
};
/** Bytes that JavaScript holds on to. */
function heldBytes(): number {
  collectGarbage(-Infinity);
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

// What runs for the first time leaves more than what comes after it.
new PlanFamilies(model).planOf({ ...options, length: 16, targetRows: 32, packedRows: 96 });
for (const [length, targetRows, packedRows] of SHAPES) {
  const shape = { ...options, length, targetRows, packedRows };
  const before = { sessions: plans.sessionCount, plans: families.count };
  const held = heldBytes();
  const began = performance.now();
  const { plan } = plans.get(
    [length, targetRows, packedRows].join(),
    () => families.planOf(shape),
  );
  const planMs = performance.now() - began;
  const planKiB = Math.round((heldBytes() - held) / 1024);
  const planned = performance.now();
  for (const call of plan.training.calls) await plans.session(call, "pool");
  const compiled = performance.now();
  planTraining(model, { ...shape, passControl: { without: new Set(["fold-blocks"]) } });
  const wholeMs = Math.round(performance.now() - compiled);
  console.log(JSON.stringify({
    length,
    targetRows,
    packedRows,
    planMs: Number(planMs.toFixed(1)),
    planKiB,
    nodes: graphNodes(plan.training.calls),
    compileMs: Math.round(compiled - planned),
    wholeMs,
    plansMade: families.count - before.plans,
    sessionsCompiled: plans.sessionCount - before.sessions,
  }));
}
