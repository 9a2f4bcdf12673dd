import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { over } from "../../src/bench/over.ts";
import type { Tensor } from "../../src/graph/tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { ActivationFile } from "../../src/train/activation_file.ts";
import {
  assertSame,
  batchOf,
  gradientDistance,
  gradientsOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";
import { sampled } from "../helpers/sampled.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** Six sequences, which divide into two parts of 26 tokens and into three of 16 to 18. */
const LENGTHS = [5, 12, 9, 3, 16, 7];

for (const [i, [model, objective]] of Object.entries(STEP_MODELS).entries()) {
  const name = model as StepModelName;
  const batch = batchOf(rowsOf(LENGTHS), 16, objective);

  for (
    const how of sampled([{}, { keepBytes: 1e9, kept: "whole" }, { numeric: "fast" }] as const, i)
  ) {
    const setting = JSON.stringify(how);
    Deno.test(`accumulate() in shards gives the gradient of the batch as one, ${name}, ${setting}`, async () => {
      using runner = createOrtRunner({ threads: 2, spinning: false });
      using one = stepOn(runner, name, how);
      const expected = await gradientsOf(one, [batch, batch]);
      // Fast rounds activations by scales of its own in each part.
      const tolerance = "numeric" in how ? 0.02 : 1e-5;
      for (const shards of [2, 3]) {
        using step = stepOn(runner, name, { ...how, shards });
        const found = await gradientsOf(step, [batch, batch]);
        assertSame(found, expected, tolerance);
        assertEquals(await gradientsOf(step, [batch, batch]), found, "the same, to the bit");
        assertEquals(await step.evaluate(batch), await one.evaluate(batch));
      }
    });
  }

  Deno.test(`accumulate() tells of each gradient once it is whole, the last layer's first, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    for (const shards of [1, 2]) {
      using step = stepOn(runner, name, { shards });
      step.zeroGrad();
      await step.accumulate(batch, 0);
      const told: (readonly [string, Tensor])[] = [];
      const whileComputing: boolean[] = [];
      const before = new Map(step.parameters.map(({ name, grad }) => [name, grad]));
      await step.accumulate(batch, 1, {
        onGradient: (parameter, grad) => {
          told.push([parameter.name, grad.read()]);
          whileComputing.push(parameter.grad === before.get(parameter.name));
        },
      });
      assertEquals(new Map(told), new Map(step.parameters.map((p) => [p.name, p.grad!.read()])));
      assertEquals(told.length, step.parameters.length);
      assertEquals(new Set(whileComputing), new Set([true]));
      const last = told[0][0];
      assert(last.includes("layers.1") || last.includes("layer.1"), last);
    }
  });

  for (const shards of [2, 3]) {
    Deno.test(`accumulate() in ${shards} shards reads and keeps activations of frozen layers, ${name}`, () =>
      inTempDir(async (folder) => {
        using runner = createOrtRunner({ threads: 2, spinning: false });
        using plain = stepOn(runner, name, {}, { layers: [1] });
        using keeping = stepOn(runner, name, { shards }, { layers: [1] });
        using file = ActivationFile.open(join(folder, "activations"), {
          identity: name,
          limitBytes: 1e7,
          resume: false,
        })!;
        keeping.activations = file;
        const first = await gradientsOf(keeping, [batch]);
        assertEquals(file.count, LENGTHS.length);
        assertSame(first, await gradientsOf(plain, [batch]), 1e-5);
        assertEquals(await gradientsOf(keeping, [batch]), first, "the same, to the bit");
        // One shard has all of its sequences, another has none: of four, the first two are new.
        const mixed = batchOf([...rowsOf([13, 10]), ...rowsOf(LENGTHS).slice(1, 3)], 16, objective);
        assertSame(
          await gradientsOf(keeping, [mixed]),
          await gradientsOf(plain, [mixed]),
          1e-5,
        );
        assertEquals(file.count, LENGTHS.length + 2);
      }));
  }

  Deno.test(`accumulate() in shards drops other entries in each, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    using step = stepOn(runner, name, { shards: 2, dropout: 0.3 });
    using one = stepOn(runner, name, { dropout: 0.3 });
    // Both shards have the same sequence.
    const [row] = rowsOf([12]);
    const twice = batchOf([row, row], 16, objective);
    const found = await gradientsOf(step, [twice], 7);
    assertEquals(await gradientsOf(step, [twice], 7), found);
    const alike = await gradientsOf(one, [batchOf([row], 16, objective)], 7);
    assert(gradientDistance(found, alike).error > 0.01, "both shards have the same masks");
  });
}

Deno.test("accumulate() in shards compiles what the next batch needs, and is not harmed where that fails", async () => {
  let compiled = 0;
  const inner = createOrtRunner({ threads: 2, spinning: false });
  using runner = over(inner, {
    compile: (...args) => {
      compiled++;
      return inner.compile(...args);
    },
  });
  const [batch, next] = [LENGTHS, LENGTHS.map((length) => length + 40)]
    .map((lengths) => batchOf(rowsOf(lengths), Math.max(...lengths), "causal"));
  using plain = stepOn(runner, "tiny-llama-genai-int4", { shards: 2 });
  using ready = stepOn(runner, "tiny-llama-genai-int4", { shards: 2 });
  const during = async (work: () => Promise<unknown>) => {
    const before = compiled;
    await work();
    return compiled - before;
  };
  await plain.accumulate(batch, 0);
  assert(await during(() => plain.accumulate(next, 0)) > 0);
  await ready.accumulate(batch, 0, { upcoming: () => Promise.resolve(next) });
  assertEquals(await during(() => ready.accumulate(next, 0)), 0);
  await ready.accumulate(batch, 0, {
    upcoming: () => Promise.reject(new Error("no such batch")),
  });
  await plain.accumulate(batch, 0);
  for (const [i, { name, grad }] of plain.parameters.entries()) {
    assertEquals(ready.parameters[i].grad!.read(), grad!.read(), name);
  }
});

Deno.test("accumulate() in shards takes a batch whole that does not divide, and one without a target", async () => {
  using runner = createOrtRunner({ threads: 2, spinning: false });
  using one = stepOn(runner, "tiny-llama-genai-int4");
  using step = stepOn(runner, "tiny-llama-genai-int4", { shards: 2 });
  const rows = rowsOf([12, 4]);
  const batches = [
    batchOf(rows, 16, "causal"),
    // All targets are in one part, or there are none.
    batchOf([rows[0], { ...rows[0], prompt: 12 }], 16, "causal"),
    batchOf(rows.map((row) => ({ ...row, prompt: 16 })), 16, "causal"),
  ];
  assertSame(await gradientsOf(step, batches), await gradientsOf(one, batches), 1e-5);
});
