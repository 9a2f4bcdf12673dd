import { assert, assertEquals } from "@std/assert";
import { toNumbers } from "../../src/graph/tensor.ts";
import { divideSegments } from "../../src/plan/stage.ts";
import type { TensorOwner } from "../../src/runtime/ort_tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { MicroBatches } from "../../src/train/micro_batches.ts";
import type { PlannedModel } from "../../src/train/planned_model.ts";
import type { LoraConfig } from "../../src/lora/config.ts";
import { relativeDistance } from "../../src/statistics.ts";
import { pipelineHere } from "../helpers/pipeline_here.ts";
import {
  batchOf,
  gradientDistance,
  rowsOf,
  STEP_MODELS,
  type StepHow,
  type StepModelName,
  type StepNumbers,
  stepOn,
} from "../helpers/training_step.ts";

const LENGTHS = [5, 12, 9, 3, 16, 7, 11];

/** A model, and the same divided into stages. */
function inStages(
  runner: Runner,
  name: StepModelName,
  count: number,
  how: StepHow = {},
  config: Partial<LoraConfig> = {},
) {
  const whole = stepOn(runner, name, how, config);
  const [batch] = batches(name);
  const ranges = divideSegments(whole.planOf(batch, { passes: [] }).loads, count)!;
  const links = pipelineHere(count);
  const stages = ranges.map((stage, i) =>
    stepOn(runner, name, { ...how, stage, pipeline: links[i] }, config)
  );
  return { whole, stages };
}

function batches(name: StepModelName) {
  const objective = STEP_MODELS[name];
  return [batchOf(rowsOf(LENGTHS), 16, objective), batchOf(rowsOf([4, 9, 6]), 9, objective)];
}

/** Losses and gradients of two batches, two sequences at a time, summed over all stages. */
async function numbersOf(
  models: readonly PlannedModel[],
  name: StepModelName,
): Promise<StepNumbers> {
  const sums = await Promise.all(models.map(async (model) => {
    const step = new MicroBatches(model, { tokens: 32 });
    step.zeroGrad();
    const seeded = batches(name).map((batch, i) => ({ batch, dropoutSeed: 5 * i }));
    let sum = await step.accumulateAll?.(seeded);
    for (const { batch, dropoutSeed } of sum === undefined ? seeded : []) {
      const { lossSum, targetCount } = await step.accumulate(batch, dropoutSeed);
      sum = {
        lossSum: lossSum + (sum?.lossSum ?? 0),
        targetCount: targetCount + (sum?.targetCount ?? 0),
      };
    }
    step.fillGrad();
    return sum!;
  }));
  const lossSum = sums.reduce((sum, one) => sum + one.lossSum, 0);
  const targetCount = sums.reduce((sum, one) => sum + one.targetCount, 0);
  const gradients = models[0].parameters.map(({ name }, p) => {
    const parts = models.map(({ parameters }) => toNumbers(parameters[p].grad!.read()));
    const values = Float64Array.from(
      parts[0],
      (_, i) => parts.reduce((sum, part) => sum + Number(part[i]), 0) / targetCount,
    );
    return [name, values] as const;
  });
  return { loss: lossSum / targetCount, gradients: new Map(gradients) };
}

/** Model, number of stages, and how it computes. */
const CASES: readonly (readonly [StepModelName, number, StepHow])[] = [
  ["tiny-llama-genai-int4", 2, {}],
  ["tiny-llama-genai-int4", 3, { thinStream: true, dropout: 0.2 }],
  ["tiny-bert-dynamic-int8", 3, { keepBytes: 1e9, kept: "whole" }],
];

for (const [name, count, how] of CASES) {
  Deno.test(`accumulate() in ${count} stages gives the gradient of one process, ${name}, ${JSON.stringify(how)}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const { whole, stages } = inStages(runner, name, count, how);
    const expected = await numbersOf([whole], name);
    const found = await numbersOf(stages, name);
    assert(Math.abs(found.loss / expected.loss - 1) <= 1e-6);
    const { parameter, error } = gradientDistance(found, expected);
    assert(error <= 1e-6, `${parameter} off by ${error}`);
    const [batch] = batches(name);
    const one = await whole.evaluate(batch);
    const others = await Promise.all(stages.map((stage) => stage.evaluate(batch)));
    const last = others.pop()!;
    assertEquals(last.targetCount, one.targetCount);
    assertEquals(last.correct, one.correct);
    assert(Math.abs(last.lossSum / one.lossSum - 1) <= 1e-6);
    assert(others.every(({ lossSum, targetCount }) => lossSum === 0 && targetCount === 0));
    const logits = await Promise.all(stages.map((stage) => stage.logits(batch)));
    const rows = [toNumbers(logits.at(-1)!), toNumbers(await whole.logits(batch))];
    assert(relativeDistance(rows[0], rows[1]) <= 1e-6);
    for (const step of [whole, ...stages]) step[Symbol.dispose]();
  });
}

Deno.test("accumulate() in stages of which the first are frozen gives the gradient of one process", async () => {
  const name = "tiny-llama-genai-int4";
  using runner = createOrtRunner({ threads: 1 });
  const { whole, stages } = inStages(runner, name, 3, {}, { layers: [1] });
  const found = await numbersOf(stages, name);
  const { parameter, error } = gradientDistance(found, await numbersOf([whole], name));
  assert(error <= 1e-6, `${parameter} off by ${error}`);
  // The same again leaves no tensor behind.
  const { tensors } = runner as unknown as TensorOwner;
  const held = tensors.size;
  await numbersOf(stages, name);
  assertEquals(tensors.size, held);
  for (const step of [whole, ...stages]) step[Symbol.dispose]();
});

Deno.test("A stage's plan reads the weights of its own segments alone, and keeps preprocessing for them", () => {
  const name = "tiny-llama-genai-int4";
  using runner = createOrtRunner({ threads: 1 });
  const { whole, stages } = inStages(runner, name, 3, { numeric: "fast" });
  const [batch] = batches(name);
  const arithmetic = whole.arithmetic;
  const plans = [whole, ...stages].map((step) =>
    step.planOf(batch, { passes: ["training"], arithmetic })
  );
  const [all, ...own] = plans.map(({ constants, preprocessing }) => ({
    weights: new Set([...constants.values()].map(({ bytes }) => bytes)),
    made: preprocessing.flatMap(({ fetches }) => [...fetches.values()]),
  }));
  for (const { weights, made } of own) {
    assert(weights.size < all.weights.size && made.length < all.made.length);
  }
  // Each weight that is made ready is so in one stage.
  assertEquals(own.flatMap(({ made }) => made).sort(), [...all.made].sort());
  for (const step of [whole, ...stages]) step[Symbol.dispose]();
});
