import { assertAlmostEquals, assertEquals } from "@std/assert";
import { learningRateAt, type ScheduleName } from "../../src/train/learning_rate.ts";

const rates = (name: ScheduleName, warmupSteps: number, totalSteps: number, steps: number[]) =>
  steps.map((step) => learningRateAt({ name, learningRate: 1, warmupSteps, totalSteps }, step));

Deno.test("learningRateAt() falls linearly as max(0, 1 - step / steps) without warm-up", () => {
  for (let step = 0; step <= 12; step++) {
    const rate = learningRateAt(
      { name: "linear", learningRate: 2e-3, warmupSteps: 0, totalSteps: 10 },
      step,
    );
    assertAlmostEquals(rate, 2e-3 * Math.max(0, 1 - step / 10), 1e-15);
  }
});

// The expected factors were printed by transformers.optimization's LambdaLR functions
// (warm-up 3, 10 steps), `lr_lambda(step)` at steps 0 to 10.
const STEPS = Array.from({ length: 11 }, (_, i) => i);
const EXPECTED: Record<ScheduleName, number[]> = {
  constant: [0, 1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1, 1],
  linear: [0, 1 / 3, 2 / 3, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7, 0],
  // deno-fmt-ignore
  cosine: [
    0, 1 / 3, 2 / 3, 1, 0.9504844339512, 0.8117449009294, 0.6112604669782, 0.3887395330218,
    0.1882550990706, 0.0495155660488, 0,
  ],
};

for (const [name, expected] of Object.entries(EXPECTED)) {
  Deno.test(`learningRateAt() equals transformers' ${name} schedule with warm-up`, () => {
    rates(name as ScheduleName, 3, 10, STEPS).forEach((rate, step) =>
      assertAlmostEquals(rate, expected[step], 1e-12, `step ${step}`)
    );
  });
}

Deno.test("learningRateAt() rests on the end rate", () => {
  const schedule = { name: "cosine", learningRate: 1, warmupSteps: 0, totalSteps: 4, endRate: 0.1 };
  assertAlmostEquals(learningRateAt(schedule as never, 4), 0.1, 1e-15);
  assertAlmostEquals(learningRateAt(schedule as never, 400), 0.1, 1e-15);
});

Deno.test("learningRateAt() accepts a schedule of no steps", () => {
  assertEquals(rates("linear", 0, 0, [0]), [1]);
});
