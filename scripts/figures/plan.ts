/**
 * Prints how a training step of a model is cut: segments, calls, sessions, saved activations.
 *
 * usage: deno run -A scripts/figures/plan.ts [MODEL.onnx] (default: SmolLM2 in ../shared)
 */
import { findModules } from "../../src/lora/modules.ts";
import { DEFAULT_LORA, initAdapter, inject, resolveTargets } from "../../src/lora/mod.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { Random } from "../../src/random.ts";

const SHAPE = { batch: 8, length: 96, targetRows: 256 };
const path = Deno.args[0] ?? "../shared/models/smollm2-135m-instruct-int4/model.onnx";
using base = loadOnnx(path);
const sites = resolveTargets(findModules(base.model), DEFAULT_LORA);
const adapters = initAdapter(sites, DEFAULT_LORA.init, Random.fromSeed(0));
const { model, trainable } = inject(base.model, sites, adapters);
const plan = planTraining(model, { ...SHAPE, trainable: new Set(trainable.keys()) });
const { calls } = plan.training;
console.log(JSON.stringify({
  model: path,
  ...SHAPE,
  segments: plan.loads.length,
  calls: calls.length,
  sessions: new Set(calls.map(({ key }) => key)).size,
  savedBytes: plan.savedBytes,
}));
