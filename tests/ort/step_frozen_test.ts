import { assert, assertEquals } from "@std/assert";
import { sizedName } from "../../src/graph/extents.ts";
import { elementCount, type Tensor } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import type { LoraConfig } from "../../src/lora/config.ts";
import { findModules } from "../../src/lora/modules.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { planTraining, type TrainingPlan } from "../../src/plan/plan.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { modelFolders } from "../helpers/model_folders.ts";
import { adapted, STEP_MODELS, type StepModelName } from "../helpers/training_step.ts";

function planOf(base: Model, objective: string, config: Partial<LoraConfig> = {}): TrainingPlan {
  const { model, trainable } = adapted(base, config);
  const targetRows = objective === "causal" ? 32 : undefined;
  return planTraining(model, { batch: 1, length: 32, trainable, targetRows });
}

/** The initializer whose own bytes a tensor looks at, `undefined` for a copy. */
function viewedBy({ bytes }: Tensor, base: Model): string | undefined {
  for (const [name, { bytes: whole }] of base.graph.initializers) {
    const start = bytes.byteOffset - whole.byteOffset;
    const isInside = start >= 0 && start + bytes.byteLength <= whole.byteLength;
    if (bytes.buffer === whole.buffer && isInside) return name;
  }
  return undefined;
}

function assertFrozen(base: Model, { constants, training }: TrainingPlan): void {
  const ofSizes = new Set(
    training.calls.flatMap(({ sized }) => [...sized.values()].map(sizedName)),
  );
  const matrices = new Set(findModules(base).map((m) => m.inFeatures * m.outFeatures));
  const viewed = new Set<string>();
  let copiedBytes = 0;
  for (const [name, value] of constants) {
    const owner = viewedBy(value, base);
    if (owner !== undefined) {
      viewed.add(owner);
      continue;
    }
    copiedBytes += value.bytes.byteLength;
    const isMatrix = value.dims.length === 2 && matrices.has(elementCount(value.dims)) &&
      !ofSizes.has(name);
    assert(!isMatrix, `${name}, ${value.dtype}[${value.dims}], is a copy of a weight`);
  }
  const sizeOf = (names: Iterable<string>) =>
    [...names].reduce((sum, name) => sum + base.graph.initializers.get(name)!.bytes.byteLength, 0);
  const modelBytes = sizeOf(base.graph.initializers.keys());
  assert(sizeOf(viewed) > 0.8 * modelBytes, `only ${sizeOf(viewed)} of ${modelBytes} are bound`);
  // Tables of positions, row numbers, the starting values of the head's chunks.
  assert(
    copiedBytes < 0.02 * modelBytes + 32768,
    `${copiedBytes} bytes were made beside the model`,
  );
}

for (const [name, objective] of Object.entries(STEP_MODELS)) {
  Deno.test(`planTraining() binds the weights as they lie in the file, ${name}`, () => {
    const base = readModel(modelDir(name));
    assertFrozen(base, planOf(base, objective));
  });
}

const smollm2 = modelFolders().get("smollm2-135m-instruct-int4");
const title = "planTraining() binds the weights as they lie in the file, SmolLM2";
// No fixture can be so large: where the model is missing there is no test to count as skipped.
if (smollm2 === undefined) console.log(`skipped: ${title}: the model is not on this machine`);
else {
  Deno.test(title, () => {
    using loaded = loadOnnx(`${smollm2}/model.onnx`);
    assertFrozen(loaded.model, planOf(loaded.model, "causal"));
  });
}

const backwardCalls = (plan: TrainingPlan) =>
  plan.training.calls.filter(({ label }) => label.startsWith("backward")).length;

/** Of two layers: each is an attention half and an MLP half, and BERT's pooler is one more piece. */
const BACKWARD: Readonly<Record<StepModelName, { mlp: string; extra: number }>> = {
  "tiny-llama-genai-int4": { mlp: "down_proj", extra: 0 },
  "tiny-llama-torch-fp32": { mlp: "down_proj", extra: 0 },
  "tiny-bert-dynamic-int8": { mlp: "intermediate.dense", extra: 1 },
};

for (const [model, { mlp, extra }] of Object.entries(BACKWARD)) {
  const name = model as StepModelName;
  Deno.test(`planTraining() differentiates nothing below the first adapter, ${name}`, () => {
    const base = readModel(modelDir(name));
    const calls = (config: Partial<LoraConfig>) =>
      backwardCalls(planOf(base, STEP_MODELS[name], config)) - extra;
    assertEquals(calls({}), 4);
    assertEquals(calls({ layers: [1] }), 2);
    assertEquals(calls({ layers: [1], targetModules: [mlp] }), 1);
  });
}

Deno.test("planTraining() computes no gradient of a frozen weight", () => {
  const base = readModel(modelDir("tiny-llama-torch-fp32"));
  const { model, trainable } = adapted(base);
  const plan = planTraining(model, { batch: 1, length: 32, trainable, targetRows: 32 });
  const fetched = plan.training.calls.flatMap(({ fetches }) => [...fetches.values()]);
  const gradients = fetched.filter((name) => name.startsWith("grad:"));
  assertEquals(gradients.length, trainable.size);
});
