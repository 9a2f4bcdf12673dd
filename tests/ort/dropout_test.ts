import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import { emitDropoutMask } from "../../src/ops/internal/dropout_mask.ts";
import { inferTraining, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { DROPOUT_SEED, saltName, saltOf } from "../../src/plan/dropout.ts";
import { expand } from "../../src/plan/expand.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";

const DIMS = [2, 150, 200];

/** Masks for each seed, from one compiled graph. */
async function masks(seeds: readonly number[], probability: number, module = "q_proj") {
  using runner = createOrtRunner({ threads: 1 });
  const b = new GraphBuilder(inferTraining);
  const x = b.input("x", "float32", DIMS);
  const seed = b.input(DROPOUT_SEED, "int64", []);
  const salt = b.initializer("salt", saltOf(saltName(module)));
  const mask = emitDropoutMask(b, { x, seed, salt, probability });
  const built = b.build("mask", [mask]);
  const inputs = built.inputs.filter(({ name }) => name === seed);
  const expanded = expand(built.nodes, built.initializers, (name) => b.known(name));
  const graph = { ...built, inputs, ...expanded };
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

/** Correlation of "dropped" between entries of two masks. */
function correlation(one: readonly number[], other: readonly number[]): number {
  const [first, second] = [one, other].map((mask) => mask.map((value) => Number(value === 0)));
  const [m, n] = [mean(first), mean(second)];
  const products = second.map((value, i) => (first[i] - m) * (value - n));
  return mean(products) / Math.sqrt(m * (1 - m) * n * (1 - n));
}

Deno.test("DropoutMask drops the asked share and keeps the mean at 1", async () => {
  for (const probability of [0.05, 0.1, 0.5]) {
    const [mask] = await masks([7], probability);
    const share = mean(mask.map((value) => value === 0 ? 1 : 0));
    // Five standard deviations of a share over 60,000 entries.
    const bound = 5 * Math.sqrt(probability * (1 - probability) / mask.length);
    assert(Math.abs(share - probability) < bound, `dropped ${share} of ${probability}`);
    assertEquals(new Set(mask), new Set([0, Math.fround(1 / (1 - probability))]));
  }
});

Deno.test("DropoutMask drops neighbouring entries, rows and columns independently", async () => {
  for (const [seed, mask] of (await masks([1, 2, 3], 0.1)).entries()) {
    for (const lag of [1, 2, 199, 200, 201, 400, 30000]) {
      const found = correlation(mask.slice(0, -lag), mask.slice(lag));
      assert(Math.abs(found) < 0.025, `seed ${seed}, lag ${lag}: correlation ${found}`);
    }
  }
});

Deno.test("DropoutMask repeats for one seed and differs between seeds and modules", async () => {
  const [first, again, other] = await masks([5, 5, 6], 0.3);
  assertEquals(first, again);
  assertNotEquals(first, other);
  const [elsewhere] = await masks([5], 0.3, "v_proj");
  assertNotEquals(first, elsewhere);
});

Deno.test("DropoutMask drops independently of other modules and other seeds", async () => {
  const names = Array.from({ length: 12 }, (_, i) => `model.layers.${i}.self_attn.q_proj`);
  const found = await Promise.all(names.map((name) => masks([5, 6], 0.3, name)));
  const all = found.flat();
  for (const [i, one] of all.entries()) {
    for (const other of all.slice(0, i)) {
      // Five standard deviations over 60,000 entries.
      const found = correlation(one, other);
      assert(Math.abs(found) < 5 / Math.sqrt(one.length), `correlation ${found}`);
    }
  }
});

Deno.test("DropoutMask drops each row and each column as often as the others", async () => {
  const probability = 0.2;
  const [mask] = await masks([9], probability);
  const columns = DIMS[2];
  const rows = mask.length / columns;
  const shares = (count: number, other: number, at: (i: number, j: number) => number) =>
    Array.from(
      { length: count },
      (_, i) => mean(Array.from({ length: other }, (_, j) => Number(mask[at(i, j)] === 0))),
    );
  const within = (share: number, entries: number) =>
    Math.abs(share - probability) < 5 * Math.sqrt(probability * (1 - probability) / entries);
  const byRow = shares(rows, columns, (i, j) => i * columns + j);
  const byColumn = shares(columns, rows, (j, i) => i * columns + j);
  assert(byRow.every((share) => within(share, columns)), `rows ${byRow}`);
  assert(byColumn.every((share) => within(share, rows)), `columns ${byColumn}`);
});
