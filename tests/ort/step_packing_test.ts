import { assert, assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { divideBatch } from "../../src/train/divide_batch.ts";
import { planOptionsFor } from "../../src/train/planned_options.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import {
  adapted,
  assertSame,
  batchOf,
  gradientsOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

const LENGTHS = [5, 12, 9, 3, 16, 7];

for (const [model, objective] of Object.entries(STEP_MODELS)) {
  const name = model as StepModelName;

  Deno.test(`accumulate() without padding in its products gives the padded batch's gradient, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using packed = stepOn(runner, name);
    using padded = stepOn(runner, name, { packing: false });
    const batch = batchOf(rowsOf(LENGTHS), 40, objective);
    const real = LENGTHS.reduce((sum, length) => sum + length);
    const { packedRows } = packed.planOf(batch).options;
    assert(packedRows !== undefined && packedRows > real && packedRows < 6 * 40, `${packedRows}`);
    assertEquals(padded.planOf(batch).options.packedRows, undefined);
    const found = await gradientsOf(packed, [batch]);
    assertSame(found, await gradientsOf(padded, [batch]), 1e-5, 1e-6);
  });

  Deno.test(`planTraining() keeps no padding between segments, ${name}`, () => {
    using runner = createOrtRunner({ threads: 1 });
    using packed = stepOn(runner, name);
    using padded = stepOn(runner, name, { packing: false });
    const batch = batchOf(rowsOf(LENGTHS), 40, objective);
    const { options, savedBytes } = packed.planOf(batch);
    const share = savedBytes / padded.planOf(batch).savedBytes;
    // What leads up to the first normalisation is padded still.
    const rows = options.packedRows! / (6 * 40);
    assert(share < rows + (1 - rows) / 2, `${share} of the bytes for ${rows} of the rows`);
  });
}

const modelOf = (name: StepModelName) => adapted(readModel(modelDir(name)));

/** Rows of the lengths above, the first two, the next two and the last two of which begin alike. */
function rowsWithPrefixes() {
  const rows = rowsOf(LENGTHS);
  const shared = [[4, 4], [3, 3], [7, 7]].flat();
  return rows.map((row, r) => ({
    ...row,
    ids: row.ids.map((id, t) => t === 0 ? 9 : t < shared[r] ? rows[r - r % 2].ids[t] ?? id : id),
  }));
}

for (const name of ["tiny-llama-genai-int4", "tiny-llama-torch-fp32"] as const) {
  const batch = batchOf(rowsWithPrefixes(), 40, "causal");

  Deno.test(`accumulate() that computes shared prefixes once gives the gradient of each sequence by itself, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    for (const numeric of ["exact", "fast"] as const) {
      for (const keepBytes of [0, 1e8]) {
        using sharing = stepOn(runner, name, { numeric, keepBytes, kept: "whole" });
        using separate = stepOn(runner, name, {
          ...{ numeric, keepBytes, kept: "whole", sharesPrefixes: false },
        });
        const [fewer, all] = [sharing, separate].map((step) =>
          step.planOf(batch, { passes: ["training"], arithmetic: step.arithmetic }).options
            .packedRows!
        );
        assert(fewer < all, `${fewer} of ${all} rows`);
        // In 8 bits a sum of cotangents is rounded once, where each was.
        const most = numeric === "exact" ? 1e-5 : 3e-2;
        const found = await gradientsOf(sharing, [batch]);
        assertSame(found, await gradientsOf(separate, [batch]), most, 1e-6);
      }
    }
  });

  Deno.test(`accumulate() of parts beside each other computes once what a part's sequences begin with, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    using sharing = stepOn(runner, name, { shards: 2, keepBytes: 1e8, kept: "whole" });
    using separate = stepOn(runner, name, { sharesPrefixes: false });
    const found = await gradientsOf(sharing, [batch]);
    assertSame(found, await gradientsOf(separate, [batch]), 1e-5, 1e-6);
  });

  Deno.test(`accumulate() attends once to what all sequences begin with, and gives the same gradient, ${name}`, async () => {
    const short = { common: 20, attended: 16, lengths: [30, 44, 25, 39], length: 48 };
    const cases = [
      { threads: 1, shards: 1, sums: "together", ...short },
      { threads: 2, shards: 2, sums: "together", ...short },
      // Two threads divide every operator.
      { threads: 2, shards: 1, sums: "by sequence", ...short },
      {
        ...{ threads: 1, shards: 1, sums: "together" },
        ...{ common: 150, attended: 144, lengths: [170, 190], length: 200 },
      },
    ];
    for (const { threads, shards, sums, common, attended, lengths, length } of cases) {
      using runner = createOrtRunner({ threads });
      const rows = rowsOf(lengths).map((row) => ({
        ...row,
        ids: row.ids.map((id, t) => t < common ? (t * 31 + 8) % 400 : id),
      }));
      const batch = batchOf(rows, length, "causal");
      using sharing = stepOn(runner, name, { shards, keepBytes: 1e8, kept: "whole" });
      using separate = stepOn(runner, name, { sharesPrefixes: false });
      const { options } = sharing.planOf(batch, { passes: ["training"], parts: shards });
      assertEquals([options.commonTokens, options.prefixSums], [attended, sums]);
      const found = await gradientsOf(sharing, [batch]);
      assertSame(found, await gradientsOf(separate, [batch]), 1e-5, 1e-6);
    }
  });

  Deno.test(`accumulate() of the one part that has targets sums as all threads may, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    const rows = rowsWithPrefixes();
    // All of one part.
    const silent = [1, 2, 3];
    const batch = batchOf(
      rows.map((row, r) => silent.includes(r) ? { ...row, prompt: row.ids.length } : row),
      40,
      "causal",
    );
    using sharing = stepOn(runner, name, { shards: 2 });
    using separate = stepOn(runner, name, { sharesPrefixes: false });
    const options = { runner, ...modelOf(name), objective: "causal", shards: 2 } as const;
    const { parts, use } = divideBatch(options, batch);
    assertEquals(parts.length, 1);
    assertEquals(planOptionsFor(options, parts[0], use).prefixSums, "by sequence");
    const found = await gradientsOf(sharing, [batch]);
    assertSame(found, await gradientsOf(separate, [batch]), 1e-5, 1e-6);
  });

  Deno.test(`evaluate() that computes shared prefixes once gives the loss of each sequence by itself, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    using sharing = stepOn(runner, name);
    using separate = stepOn(runner, name, { sharesPrefixes: false });
    const [found, expected] = [await sharing.evaluate(batch), await separate.evaluate(batch)];
    const off = Math.abs(found.lossSum / expected.lossSum - 1);
    assert(off <= 1e-6, `loss off by ${off}`);
  });

  Deno.test(`accumulate() shares no prefix under dropout, ${name}`, () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, name, { dropout: 0.1 });
    const sums = (dropout: number) =>
      step.planOf(batch, { passes: ["training"], dropout }).options.prefixSums;
    assertEquals([sums(0), sums(0.1)], ["together", undefined]);
  });
}
