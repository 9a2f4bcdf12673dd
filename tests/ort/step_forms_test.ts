import { assert, assertEquals } from "@std/assert";
import { elementCount, float32, type Tensor } from "../../src/graph/tensor.ts";
import { checkSliced, SLICED_LIMIT } from "../../src/train/check_sliced.ts";
import { type IntegerForm, isPaired } from "../../src/ops/internal/integer_form.ts";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { fillOf } from "../../src/graph/extents.ts";
import type { PlannedCall } from "../../src/plan/call.ts";
import { wholeGraph } from "../../src/plan/call_graph.ts";
import { planTraining, type TrainingPlan } from "../../src/plan/plan.ts";
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
  type StepHow,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

const firstByte = (value: Tensor | undefined) => value && (fillOf(value) ?? value.bytes)[0];

/** Types of the activations that a plan's products in integers read, each with its zero point's. */
function activations(calls: readonly PlannedCall[]): string[] {
  const found = new Set<string>();
  for (const call of calls) {
    const { nodes, initializers } = wholeGraph(call);
    for (const { opType, inputs } of nodes) {
      if (opType !== "MatMulIntegerToFloat") continue;
      const producer = nodes.find(({ outputs }) => outputs.includes(inputs[0]))!;
      const zeroPoints = [producer.inputs[2], inputs[4]].map((name) => initializers.get(name));
      const text = zeroPoints.map((value) => `${value?.dtype} ${firstByte(value)}`);
      found.add([producer.opType, ...text].join(", "));
    }
  }
  return [...found].sort();
}

const INT8 = "tiny-bert-dynamic-int8";
const INT8_BATCH = batchOf(rowsOf([9, 6, 16]), 16, STEP_MODELS[INT8]);

Deno.test("exact with activations of 16 bits has the gradient of floats within 2e-4, in every form", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const gradients = async (how: StepHow) => {
    using step = stepOn(runner, INT8, how);
    return await gradientsOf(step, [INT8_BATCH]);
  };
  const floats = await gradients({});
  for (const integerForm of RIGHT_FORMS) {
    for (const readyWeights of [false, true]) {
      const found = await gradients({ sliced: true, integerForm, readyWeights });
      const { error } = gradientDistance(found, floats);
      assert(error > 1e-7 && error < 2e-4, `error of ${integerForm} is ${error}`);
    }
  }
});

Deno.test("planTraining() computes activations of 16 bits as the form says", () => {
  const { model, trainable } = adapted(readModel(modelDir(INT8)));
  const plan = (integerForm: IntegerForm) =>
    planTraining(model, {
      ...{ batch: 2, length: 8, trainable },
      arithmetic: arithmeticOf({ sliced: true, integerForm }),
    });
  assert(plan("u8s8").readsStored);
  assertEquals(activations(plan("u8s8").training.calls), ["QuantizeLinear, uint8 128, uint8 128"]);
  assertEquals(activations(plan("s8s8").training.calls), ["QuantizeLinear, int8 0, int8 0"]);
  assertEquals(weights(plan("u8u8").training.calls), ["uint8 around 128"]);
});

Deno.test("activations of 16 bits change no weights but those that the file holds in 8", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const plan = (sliced: boolean) =>
    planTraining(model, {
      ...{ batch: 2, length: 8, targetRows: 16, headChunk: 100, trainable },
      arithmetic: arithmeticOf({ sliced, readyWeights: true }),
    });
  const keys = ({ training, preprocessing }: TrainingPlan) =>
    [...training.calls, ...preprocessing].map(({ key }) => key);
  assertEquals(keys(plan(true)), keys(plan(false)));
});

Deno.test("losses without gradients stay in floats with activations of 16 bits", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using inFloats = stepOn(runner, INT8);
  using inSlices = stepOn(runner, INT8, { sliced: true, integerForm: RIGHT_FORMS[0] });
  const { lossSum } = await inFloats.accumulate(INT8_BATCH, 0);
  const sliced = await inSlices.accumulate(INT8_BATCH, 0);
  assertEquals(await inSlices.evaluate(INT8_BATCH), await inFloats.evaluate(INT8_BATCH));
  assert(sliced.lossSum !== lossSum && Math.abs(sliced.lossSum - lossSum) < 1e-4 * lossSum);
});

Deno.test("inArithmetic() is the same model, computed otherwise", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const sliced = { sliced: true, integerForm: RIGHT_FORMS[0], keepBytes: 1e9 } as const;
  using inFloats = stepOn(runner, INT8, { keepBytes: 1e9 });
  const first = stepOn(runner, INT8, sliced);
  await first.accumulate(INT8_BATCH, 0);
  using changed = first.inArithmetic(inFloats.arithmetic);
  assertEquals(changed.arithmetic, inFloats.arithmetic);
  const found = await gradientsOf(changed, [INT8_BATCH]);
  assertEquals(found, await gradientsOf(inFloats, [INT8_BATCH]));
});

Deno.test("checkSliced() passes 16 bits where they keep the gradient", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using step = stepOn(runner, INT8, { sliced: true, integerForm: RIGHT_FORMS[0] });
  const { relativeError, passed } = await checkSliced(step, step.arithmetic, INT8_BATCH);
  assertEquals(passed, relativeError <= SLICED_LIMIT);
  assert(relativeError > 0, "floats are compared with something else");
  assert(step.parameters.every(({ grad }) => grad === undefined));
  step.parameters[0].value.write(
    float32(
      step.parameters[0].dims,
      new Float32Array(elementCount(step.parameters[0].dims)).fill(NaN),
    ),
  );
  const ofNaN = await checkSliced(step, step.arithmetic, INT8_BATCH);
  assertEquals(ofNaN.passed, false, "no number passes no comparison");
});

/** Types of the weights that a plan's products in integers read, with their zero points. */
function weights(calls: readonly PlannedCall[]): string[] {
  const found = new Set<string>();
  for (const { graph } of calls) {
    const types = new Map(
      [...graph.inputs, ...graph.valueInfo.values()].map(({ name, type }) => [name, type?.dtype]),
    );
    for (const { opType, inputs } of graph.nodes) {
      if (opType !== "MatMulIntegerToFloat") continue;
      const transposed = graph.nodes.find(({ outputs }) => outputs[0] === inputs[1]);
      const zero = graph.initializers.get(inputs[5] ?? "");
      const dtype = types.get(transposed?.inputs[0] ?? inputs[1]);
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
      arithmetic: arithmeticOf({ numeric: "fast", integerForm }),
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
    const [first, ...others] = RIGHT_FORMS.filter((form) => !isPaired(form));
    const found = await gradients(first);
    for (const form of others) {
      const { error } = gradientDistance(found, await gradients(form));
      assert(error < 0.02, `error of ${form} is ${error}`);
    }
    assert(RIGHT_FORMS.includes("u8s8_paired"), "pairs fit on every processor");
    const { error } = gradientDistance(found, await gradients("u8s8_paired"));
    assert(error < 0.1, `error with paired weights is ${error}`);
    assertEquals(error > 0, name !== INT8, "weights of 8 bits are read as they are");
  });
}
