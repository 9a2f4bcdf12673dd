/** Training steps on the fixtures' models: an adapter whose B is not zero, batches, gradients. */
import { assert, assertAlmostEquals } from "@std/assert";
import { Random } from "../../src/random.ts";
import { float32, int64, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { DEFAULT_LORA, type LoraConfig } from "../../src/lora/config.ts";
import { inject } from "../../src/lora/inject.ts";
import { findModules } from "../../src/lora/modules.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import type { PlannedModelOptions } from "../../src/train/planned_options.ts";
import { type ArithmeticWords, withArithmetic } from "./arithmetic.ts";
import type { StepModel } from "../../src/train/step.ts";
import { modelDir, readModel } from "./fixture_models.ts";

/** What of the fixtures trains how. */
export const STEP_MODELS = {
  "tiny-llama-genai-int4": "causal",
  "tiny-llama-torch-fp32": "causal",
  "tiny-bert-dynamic-int8": "classification",
} as const;
export type StepModelName = keyof typeof STEP_MODELS;

/** A model with adapters; A and B are random, so that every gradient is alive. */
export function adapted(base: Model, config: Partial<LoraConfig> = {}) {
  const sites = resolveTargets(findModules(base), { ...DEFAULT_LORA, rank: 4, ...config });
  const random = Random.fromSeed(7);
  const matrix = (rows: number, columns: number): Tensor =>
    float32(
      [rows, columns],
      Float32Array.from({ length: rows * columns }, () => (random.next() / 2 ** 32 - 0.5) * 0.2),
    );
  const { model, trainable } = inject(
    base,
    sites,
    new Map(sites.map(({ module, rank }) => [
      module.path,
      { a: matrix(rank, module.inFeatures), b: matrix(module.outFeatures, rank) },
    ])),
    { dropout: true },
  );
  return { model, trainable: new Set(trainable.keys()) };
}

/** How a step is made, its arithmetic in the words of settings. */
export type StepHow = Partial<PlannedModelOptions> & ArithmeticWords;

/** A step over a fixture's model with adapters on its queries and values. */
export function stepOn(
  runner: Runner,
  name: StepModelName,
  how: StepHow = {},
  config: Partial<LoraConfig> = {},
): PlannedModel {
  const made = adapted(readModel(modelDir(name)), { dropout: how.dropout ?? 0, ...config });
  const options = { runner, ...made, objective: STEP_MODELS[name], ...how };
  return new PlannedModel(withArithmetic(options, runner));
}

/** A row of a batch: its tokens, and how many of them at the start are no targets. */
export interface Row {
  readonly ids: readonly number[];
  readonly prompt: number;
  readonly classId: number;
}

/** Rows of given lengths, the same for the same lengths. */
export function rowsOf(lengths: readonly number[]): Row[] {
  return lengths.map((length, r) => ({
    ids: Array.from({ length }, (_, i) => (i * 7919 + r * 1543 + 17) % 500 + 5),
    prompt: 1 + r % 3,
    classId: r % 3,
  }));
}

/** Rows in one batch, padded on the right to `length`. */
export function batchOf(
  rows: readonly Row[],
  length: number,
  objective: "causal" | "classification",
): TokenBatch {
  const padded = (value: (row: Row, t: number) => number, padding: number) =>
    rows.flatMap((row) =>
      Array.from({ length }, (_, t) => t < row.ids.length ? value(row, t) : padding)
    );
  return {
    inputIds: int64([rows.length, length], padded(({ ids }, t) => ids[t], 0)),
    attentionMask: int64([rows.length, length], padded(() => 1, 0)),
    ...(objective === "causal"
      ? { labels: padded(({ ids, prompt }, t) => t < prompt ? -100 : ids[t], -100) }
      : { classIds: rows.map(({ classId }) => classId) }),
    tokenCount: rows.reduce((sum, { ids }) => sum + ids.length, 0),
  };
}

/** Loss and gradients, each over the number of targets. */
export interface StepNumbers {
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float64Array>;
}

/** Accumulates batches as one step and reads the mean gradient. */
export async function gradientsOf(
  step: StepModel<TokenBatch>,
  batches: readonly TokenBatch[],
  dropoutSeed = 0,
): Promise<StepNumbers> {
  step.zeroGrad();
  let [lossSum, targetCount] = [0, 0];
  for (const batch of batches) {
    const loss = await step.accumulate(batch, dropoutSeed);
    lossSum += loss.lossSum;
    targetCount += loss.targetCount;
  }
  return {
    loss: lossSum / targetCount,
    gradients: new Map(step.parameters.map(({ name, grad }) => [
      name,
      Float64Array.from(toNumbers(grad!.read()), (value) => value / targetCount),
    ])),
  };
}

/** Every parameter's gradient of a batch is the difference of losses along it, one at a time. */
export async function assertGradientsOfDifferences(
  step: PlannedModel,
  batch: TokenBatch,
): Promise<void> {
  const { gradients } = await gradientsOf(step, [batch]);
  // Along its own direction a gradient is its length.
  for (const { name, value, dims } of step.parameters) {
    const gradient = gradients.get(name)!;
    const length = Math.hypot(...gradient);
    assert(length > 0, name);
    const start = Float32Array.from(toNumbers(value.read()));
    const lossAt = async (distance: number) => {
      value.write(float32(dims, start.map((x, i) => x + distance * gradient[i] / length)));
      const { lossSum, targetCount } = await step.evaluate(batch);
      return lossSum / targetCount;
    };
    const found = (await lossAt(1e-2) - await lossAt(-1e-2)) / 2e-2;
    value.write(float32(dims, start));
    assertAlmostEquals(found, length, 0.01 * length + 2e-5, name);
  }
}

export function norm(values: Iterable<number>): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

/**
 * Loss and gradients are the same but for a relative error.
 *
 * @param ofLoss that of the loss, where it is another one
 */
export function assertSame(
  found: StepNumbers,
  expected: StepNumbers,
  tolerance = 1e-5,
  ofLoss = tolerance,
): void {
  const off = Math.abs(found.loss - expected.loss);
  assert(off <= ofLoss * expected.loss, `loss off by ${off}`);
  const { parameter, error } = gradientDistance(found, expected);
  assert(error <= tolerance, `gradient of ${parameter} off by ${error}`);
}

/** The largest ‖found − expected‖₂ / ‖expected‖₂ of a parameter's gradient, and whose it is. */
export function gradientDistance(found: StepNumbers, expected: StepNumbers) {
  let worst = { parameter: "", error: 0 };
  for (const [parameter, values] of expected.gradients) {
    const other = found.gradients.get(parameter)!;
    const error = norm(values.map((value, i) => value - other[i])) / norm(values);
    if (!(error <= worst.error)) worst = { parameter, error };
  }
  return worst;
}
