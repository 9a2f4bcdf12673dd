import { assert, assertEquals } from "@std/assert";
import type { IntegerForm } from "../../src/ops/internal/integer_form.ts";
import type { PlannedCall } from "../../src/plan/call.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
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

/** Types of the weights that a plan's products in integers read, with their zero points. */
function weights(calls: readonly PlannedCall[]): string[] {
  const found = new Set<string>();
  for (const { graph } of calls) {
    const types = new Map(
      [...graph.inputs, ...graph.valueInfo.values()].map(({ name, type }) => [name, type?.dtype]),
    );
    for (const { opType, inputs } of graph.nodes) {
      if (opType !== "MatMulIntegerToFloat") continue;
      const turned = graph.nodes.find(({ outputs }) => outputs[0] === inputs[1]);
      const zero = graph.initializers.get(inputs[5] ?? "");
      const dtype = types.get(turned?.inputs[0] ?? inputs[1]);
      found.add(zero === undefined ? String(dtype) : `${dtype} around ${zero.bytes[0]}`);
    }
  }
  return [...found].sort();
}

Deno.test("planTraining() rounds what enters frozen layers as the form says, and no head's probabilities", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const plan = (integerForm: IntegerForm) =>
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
  assertEquals(activations(plan("u8u8")), unsigned, "the weights' type is another");
  assertEquals(weights(plan("u8s8")), ["int8"]);
  assertEquals(weights(plan("u8u8")), ["uint8 around 128"]);
});

for (const name of Object.keys(STEP_MODELS) as StepModelName[]) {
  Deno.test(`fast computes the same gradient in every form that does not saturate here, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const batch = batchOf(rowsOf([9, 6, 16]), 16, STEP_MODELS[name]);
    const gradients = async (integerForm: IntegerForm) => {
      using step = stepOn(runner, name, { numeric: "fast", headChunk: 100, integerForm });
      return await gradientsOf(step, [batch]);
    };
    const [first, ...others] = RIGHT_FORMS;
    const found = await gradients(first);
    for (const form of others) {
      const { error } = gradientDistance(found, await gradients(form));
      assert(error < 0.02, `error of ${form} is ${error}`);
    }
  });
}
