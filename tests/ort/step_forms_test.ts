import { assert, assertEquals } from "@std/assert";
import type { PlannedCall } from "../../src/plan/call.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import {
  adapted,
  batchOf,
  gradientDistance,
  gradientsOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

/** Types of the activations that a plan's products in integers read, each with its zero point's. */
function activations(calls: readonly PlannedCall[]): string[] {
  const found = new Set<string>();
  for (const { graph: { nodes, initializers } } of calls) {
    for (const { opType, inputs } of nodes) {
      if (opType !== "MatMulIntegerToFloat") continue;
      const producer = nodes.find(({ outputs }) => outputs.includes(inputs[0]))!;
      const zeroPoints = [producer.inputs[2], inputs[4]].map((name) => initializers.get(name));
      const text = zeroPoints.map((value) => `${value?.dtype} ${value?.bytes[0]}`);
      found.add([producer.opType, ...text].join(", "));
    }
  }
  return [...found].sort();
}

Deno.test("planTraining() rounds what enters frozen layers as the form says, and no head's probabilities", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const plan = (integerForm: "u8s8" | "s8s8") =>
    planTraining(model, {
      ...{ batch: 2, length: 8, targetRows: 16, headChunk: 100, trainable },
      numeric: "fast",
      integerForm,
    }).training.calls;
  const unsigned = activations(plan("u8s8"));
  assert(unsigned.includes("QuantizeLinear, uint8 128, uint8 128"), String(unsigned));
  assertEquals(
    activations(plan("s8s8")),
    unsigned.map((text) => text.replaceAll("uint8 128", "int8 0")).sort(),
  );
  const keys = (calls: readonly PlannedCall[]) => new Set(calls.map(({ key }) => key));
  assertEquals(keys(plan("s8s8")).size, keys(plan("u8s8")).size);
});

for (const name of Object.keys(STEP_MODELS) as StepModelName[]) {
  Deno.test(`fast computes the same gradient from signed and unsigned activations, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const batch = batchOf(rowsOf([9, 6, 16]), 16, STEP_MODELS[name]);
    const gradients = async (integerForm: "u8s8" | "s8s8") => {
      using step = stepOn(runner, name, { numeric: "fast", headChunk: 100, integerForm });
      return await gradientsOf(step, [batch]);
    };
    const { error } = gradientDistance(await gradients("s8s8"), await gradients("u8s8"));
    // Kernels without VNNI saturate sums of unsigned products.
    assert(error < 0.02, `error is ${error}`);
  });
}
