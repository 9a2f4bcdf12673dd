import { assert } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { MicroBatches } from "../../src/train/micro_batches.ts";
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

const LENGTHS = [5, 12, 9, 3, 16, 7];

for (const [model, objective] of Object.entries(STEP_MODELS)) {
  const name = model as StepModelName;

  Deno.test(`accumulate() of unequal micro-batches gives the large batch's gradient, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, name);
    const rows = rowsOf(LENGTHS);
    const whole = await gradientsOf(step, [batchOf(rows, 16, objective)]);
    const parts = await gradientsOf(step, [
      batchOf(rows.slice(0, 1), 8, objective),
      batchOf(rows.slice(1, 4), 12, objective),
      batchOf(rows.slice(4), 16, objective),
    ]);
    assertSame(parts, whole);
    // Targets weigh alike, not micro-batches: three means' mean is another gradient.
    const first = await gradientsOf(step, [batchOf(rows.slice(0, 1), 8, objective)]);
    assert(gradientDistance(first, whole).error > 0.1, "the parts are too alike to tell weights");
  });

  Deno.test(`MicroBatches gives the whole batch's gradient, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, name);
    const batch = batchOf(rowsOf(LENGTHS), 16, objective);
    const whole = await gradientsOf(step, [batch]);
    // Six sequences of 16 tokens, three at a time.
    assertSame(await gradientsOf(new MicroBatches(step, { tokens: 64 }), [batch]), whole);
  });

  Deno.test(`accumulate() is blind to padding, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, name);
    const rows = rowsOf(LENGTHS);
    const tight = await gradientsOf(step, [batchOf(rows, 16, objective)]);
    assertSame(await gradientsOf(step, [batchOf(rows, 40, objective)]), tight);
    // Nor does it matter which tokens the padding is made of.
    const other = batchOf(rows.map((row) => ({ ...row, ids: [...row.ids] })), 40, objective);
    const ids = new BigInt64Array(other.inputIds.bytes.slice().buffer);
    const mask = new BigInt64Array(other.attentionMask.bytes.slice().buffer);
    mask.forEach((real, i) => {
      if (real === 0n) ids[i] = BigInt(3 + i % 400);
    });
    const inputIds = { ...other.inputIds, bytes: new Uint8Array(ids.buffer) };
    assertSame(await gradientsOf(step, [{ ...other, inputIds }]), tight);
  });
}

Deno.test("accumulate() of a batch without a target adds nothing", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using step = stepOn(runner, "tiny-llama-genai-int4");
  const rows = rowsOf([8, 6]);
  const alone = await gradientsOf(step, [batchOf(rows, 8, "causal")]);
  const silent = batchOf(rows.map((row) => ({ ...row, prompt: row.ids.length })), 8, "causal");
  assertSame(await gradientsOf(step, [silent, batchOf(rows, 8, "causal"), silent]), alone, 0);
});
