import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import { inferTraining, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { DROPOUT_SEED, dropoutMask, saltOf } from "../../src/plan/dropout.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";

const DIMS = [2, 150, 200];

/** Masks for each seed, from one compiled graph. */
async function masks(seeds: readonly number[], probability: number, module = "q_proj") {
  using runner = createOrtRunner({ threads: 1 });
  const b = new GraphBuilder(inferTraining);
  b.input(DROPOUT_SEED, "int64", []);
  const mask = dropoutMask(b, DIMS, probability, b.initializer("salt", saltOf(module)));
  const graph = b.build("mask", [mask]);
  using executable = await runner.compile({
    irVersion: 10,
    opsets: TRAINING_OPSETS,
    graph,
    metadata: {},
  });
  const found: number[][] = [];
  for (const seed of seeds) {
    using fed = runner.upload(int64([], [seed]));
    using result = (await executable.run({ [DROPOUT_SEED]: fed }))[mask];
    found.push(Array.from(toNumbers(result.read())));
  }
  return found;
}

const mean = (values: readonly number[]) => values.reduce((a, c) => a + c, 0) / values.length;

/** Correlation of "dropped" between entries `lag` apart. */
function correlation(mask: readonly number[], lag: number): number {
  const dropped = mask.map((value) => value === 0 ? 1 : 0);
  const m = mean(dropped);
  const products = dropped.slice(lag).map((value, i) => (value - m) * (dropped[i] - m));
  return mean(products) / (m * (1 - m));
}

Deno.test("dropoutMask() drops the asked share and keeps the mean at 1", async () => {
  for (const probability of [0.05, 0.1, 0.5]) {
    const [mask] = await masks([7], probability);
    const share = mean(mask.map((value) => value === 0 ? 1 : 0));
    // Five standard deviations of a share over 60,000 entries.
    const bound = 5 * Math.sqrt(probability * (1 - probability) / mask.length);
    assert(Math.abs(share - probability) < bound, `dropped ${share} of ${probability}`);
    assertEquals(new Set(mask), new Set([0, Math.fround(1 / (1 - probability))]));
  }
});

Deno.test("dropoutMask() drops neighbouring entries, rows and columns independently", async () => {
  for (const [seed, mask] of (await masks([1, 2, 3], 0.1)).entries()) {
    for (const lag of [1, 2, 199, 200, 201, 400, 30000]) {
      const found = correlation(mask, lag);
      assert(Math.abs(found) < 0.025, `seed ${seed}, lag ${lag}: correlation ${found}`);
    }
  }
});

Deno.test("dropoutMask() repeats for one seed and differs between seeds and modules", async () => {
  const [first, again, other] = await masks([5, 5, 6], 0.3);
  assertEquals(first, again);
  assertNotEquals(first, other);
  const [elsewhere] = await masks([5], 0.3, "v_proj");
  assertNotEquals(first, elsewhere);
});
