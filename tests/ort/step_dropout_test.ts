import { assert, assertEquals } from "@std/assert";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { PlannedModel } from "../../src/train/planned_model.ts";
import {
  batchOf,
  gradientDistance,
  gradientsOf,
  norm,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

const LENGTHS = [16, 9, 12];
const SEED = 20240607;

/** Moves all parameters by `by` times a direction. */
function move(step: PlannedModel, direction: ReadonlyMap<string, Float64Array>, by: number): void {
  for (const { name, dims, value } of step.parameters) {
    const along = direction.get(name)!;
    const moved = Float32Array.from(toNumbers(value.read()), (v, i) => v + by * along[i]);
    value.write(float32(dims, moved));
  }
}

for (const [model, objective] of Object.entries(STEP_MODELS)) {
  const name = model as StepModelName;
  const batch = batchOf(rowsOf(LENGTHS), 16, objective);

  Deno.test(`accumulate() with dropout gives the slope of its own loss, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, name, { dropout: 0.3 });
    const { gradients } = await gradientsOf(step, [batch], SEED);
    const length = norm([...gradients.values()].flatMap((values) => [...values]));
    const unit = new Map([...gradients].map(([k, values]) => [k, values.map((v) => v / length)]));
    const distance = 0.02;
    move(step, unit, distance);
    const above = await gradientsOf(step, [batch], SEED);
    move(step, unit, -2 * distance);
    const below = await gradientsOf(step, [batch], SEED);
    const slope = (above.loss - below.loss) / (2 * distance);
    // Curvature, and the rounding of two float32 losses.
    assert(Math.abs(slope - length) < 0.01 * length, `slope ${slope}, gradient ${length}`);
  });

  Deno.test(`accumulate() draws the same masks whether it keeps or recomputes, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using recomputing = stepOn(runner, name, { dropout: 0.3 });
    using keeping = stepOn(runner, name, {
      dropout: 0.3,
      keepBytes: 1e9,
      kept: "whole",
    });
    const expected = await gradientsOf(recomputing, [batch], SEED);
    const found = await gradientsOf(keeping, [batch], SEED);
    assertEquals(found.loss, expected.loss);
    assertEquals(gradientDistance(found, expected).error, 0);
    const other = await gradientsOf(recomputing, [batch], SEED + 1);
    assert(gradientDistance(other, expected).error > 0.01, "another seed drops the same");
  });

  Deno.test(`evaluate() drops nothing, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using dropping = stepOn(runner, name, { dropout: 0.5 });
    using whole = stepOn(runner, name);
    const { lossSum, targetCount } = await whole.evaluate(batch);
    await dropping.accumulate(batch, SEED);
    assertEquals((await dropping.evaluate(batch)).lossSum, lossSum);
    const { loss } = await gradientsOf(whole, [batch], SEED);
    assert(
      Math.abs(loss - lossSum / targetCount) < 1e-6 * loss,
      "without dropout both are one loss",
    );
    const dropped = await gradientsOf(dropping, [batch], SEED);
    assert(Math.abs(dropped.loss - loss) > 1e-4, "dropout changes nothing");
  });
}
