import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  efficiencyOf,
  fitWire,
  stepSeconds,
  sumSeconds,
  type TrainingModel,
} from "../../scripts/figures/ranks/step_time.ts";

const GIGABIT = 1e9;
const TRAINING: TrainingModel = {
  ...{ compute: 1, backward: 0.5, bytes: 50e6, accumulation: 1, overlaps: false },
  imbalance: () => 1,
};

Deno.test("fitWire() finds the latency and the rate that sums were made with", () => {
  const wire = { latency: 2e-4, efficiency: 0.9 };
  const sums = [2, 4].flatMap((ranks) =>
    [4, 2e6, 2e7].map((bytes) => ({
      ...{ ranks, bytes, bitsPerSecond: GIGABIT },
      p50Ms: 1000 * sumSeconds(wire, ranks, bytes, GIGABIT),
    }))
  );
  const found = fitWire(sums);
  assertAlmostEquals(found.latency, wire.latency, 1e-10);
  assertAlmostEquals(found.efficiency, wire.efficiency, 1e-10);
});

Deno.test("sumSeconds() of two boards sends the array once, of many nearly twice", () => {
  const wire = { latency: 0, efficiency: 1 };
  assertAlmostEquals(sumSeconds(wire, 2, 1e6, GIGABIT), 0.008, 1e-12);
  assertAlmostEquals(sumSeconds(wire, 64, 1e6, GIGABIT), 0.016 * 63 / 64, 1e-12);
});

Deno.test("stepSeconds() waits for the sum, of which overlap hides what the backward pass takes", () => {
  const wire = { latency: 0, efficiency: 1 };
  // 0.4 s of sums for two boards, 0.6 s for four.
  assertEquals(stepSeconds(TRAINING, wire, 1, GIGABIT), 1);
  assertAlmostEquals(stepSeconds(TRAINING, wire, 2, GIGABIT), 1.4, 1e-9);
  const overlapping = { ...TRAINING, overlaps: true };
  assertAlmostEquals(stepSeconds(overlapping, wire, 4, GIGABIT), 1.1, 1e-9);
  // The last group is never hidden.
  const group = sumSeconds(wire, 2, 2 ** 18, GIGABIT);
  assertAlmostEquals(stepSeconds(overlapping, wire, 2, GIGABIT), 1 + group, 1e-9);
});

Deno.test("efficiencyOf() falls with boards and rises with batches of a step", () => {
  const wire = { latency: 1e-4, efficiency: 0.95 };
  const of = (boards: number, accumulation: number) =>
    efficiencyOf({ ...TRAINING, accumulation }, wire, boards, GIGABIT);
  assertEquals(of(1, 1), 1);
  assert(of(2, 1) > of(8, 1) && of(8, 1) > of(64, 1));
  assert(of(64, 4) > of(64, 1));
});
