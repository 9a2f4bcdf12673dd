import { assert, assertEquals, assertThrows } from "@std/assert";
import type { LoraConfig } from "../../src/lora/config.ts";
import { float16Name } from "../../src/plan/names.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { IndivisibleError, isEarlier } from "../../src/plan/span.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { divideBatch } from "../../src/train/divide_batch.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { type PlannedModelOptions, planOptionsFor } from "../../src/train/planned_options.ts";
import { withArithmetic } from "../helpers/arithmetic.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import {
  adapted,
  assertSame,
  batchOf,
  gradientsOf,
  rowsOf,
  type StepHow,
} from "../helpers/training_step.ts";

/** A step over a model in some shards, and the plans of a batch's parts. */
function stepIn(options: PlannedModelOptions) {
  const plansOf = (batch: ReturnType<typeof batchOf>) => {
    const { parts, use } = divideBatch(options, batch);
    return parts.map((part) => planTraining(options.model, planOptionsFor(options, part, use)));
  };
  return { step: new PlannedModel(options), plansOf };
}

/** One sequence of so many tokens, padded a little, whose first tokens are no targets. */
function sequence(tokens: number, prompt: number) {
  const [row] = rowsOf([tokens]);
  // In the smallest vocabulary of the models.
  return batchOf([{ ...row, ids: row.ids.map((id) => id % 128), prompt }], tokens + 4, "causal");
}

const GENAI = readModel(modelDir("tiny-llama-genai-int4"));

const WAYS: readonly (readonly [title: string, how: StepHow, tolerance: number])[] = [
  ["exact", {}, 1e-5],
  ["exact, activations kept", { keepBytes: 1e9, kept: "whole" }, 1e-5],
  // Keys and values of earlier spans are kept in float16, like what passes between segments in both.
  ["exact, little kept, in float16", { keepBytes: 8, kept: "reduced" }, 5e-4],
  // Activations are rounded by scales of their own in each span.
  ["fast", { numeric: "fast", keepBytes: 1e9 }, 0.02],
];

for (const [title, how, tolerance] of WAYS) {
  Deno.test(`accumulate() of a sequence in spans gives the gradient of the sequence as one, ${title}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    const options = withArithmetic(
      { runner, ...adapted(GENAI), objective: "causal" as const, ...how },
      runner,
    );
    using one = new PlannedModel(options);
    const batch = sequence(200, 1);
    const expected = await gradientsOf(one, [batch, batch]);
    for (const shards of [2, 3]) {
      const { step, plansOf } = stepIn({ ...options, shards });
      using spans = step;
      const found = await gradientsOf(spans, [batch, batch]);
      assertSame(found, expected, tolerance);
      assertEquals(await gradientsOf(spans, [batch, batch]), found, "the same, to the bit");
      assertEquals(plansOf(batch).map(({ options }) => options.span!.continues).length, shards);
    }
  });
}

/** Models whose attention has what others' has not, with the tokens that their positions allow. */
const DIALECTS: Readonly<Record<string, Partial<LoraConfig>>> = {
  "gemma2": {}, // a window, squashed scores
  "llama-int4-zero-points": {},
  "llama-qdq-int4": {},
  "phi": {},
};

for (const [name, config] of Object.entries(DIALECTS)) {
  Deno.test(`accumulate() of a sequence in spans gives the gradient of the sequence as one, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    const made = adapted(readModel(modelDir(`dialects/${name}`)), config);
    const options = withArithmetic({
      ...{ runner, ...made, objective: "causal" as const },
      ...{ keepBytes: 1e8, kept: "whole" as const },
    }, runner);
    using one = new PlannedModel(options);
    const { step, plansOf } = stepIn({ ...options, shards: 2 });
    using spans = step;
    // No target is in the first span.
    const batch = sequence(52, 40);
    assertSame(await gradientsOf(spans, [batch]), await gradientsOf(one, [batch]), 1e-5);
    assertEquals(plansOf(batch).length, 2);
  });
}

Deno.test("accumulate() of a sequence in spans drops other entries in each", async () => {
  using runner = createOrtRunner({ threads: 2, spinning: false });
  const made = adapted(GENAI, { dropout: 0.3 });
  using step = new PlannedModel({ runner, ...made, objective: "causal", shards: 2, dropout: 0.3 });
  const batch = sequence(60, 1);
  const found = await gradientsOf(step, [batch], 7);
  assertEquals(await gradientsOf(step, [batch], 7), found);
});

Deno.test("accumulate() computes a sequence as one where tokens see each other elsewhere than in attention", async () => {
  using runner = createOrtRunner({ threads: 2, spinning: false });
  const made = adapted(readModel(modelDir("tiny-llama-torch-fp32")));
  const options = { runner, ...made, objective: "causal" } as const;
  using one = new PlannedModel(options);
  const { step, plansOf } = stepIn({ ...options, shards: 2 });
  using shards = step;
  const batch = sequence(60, 1);
  assertThrows(() => plansOf(batch), IndivisibleError);
  assertSame(await gradientsOf(shards, [batch]), await gradientsOf(one, [batch]), 1e-5);
});

Deno.test("accumulate() of a sequence in spans, none of which has a target, adds nothing", async () => {
  using runner = createOrtRunner({ threads: 2, spinning: false });
  using step = new PlannedModel({ runner, ...adapted(GENAI), objective: "causal", shards: 2 });
  assertEquals(await step.accumulate(sequence(60, 60), 0), { lossSum: 0, targetCount: 0 });
});

for (const numeric of ["exact", "fast"] as const) {
  Deno.test(`planTraining() of a span keeps earlier keys and values in float16 for the backward pass, ${numeric}`, () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    const options = withArithmetic({
      ...{ runner, ...adapted(GENAI), objective: "causal" as const },
      ...{ keepBytes: 8, kept: "reduced" as const, numeric, shards: 2 },
    }, runner);
    const { step, plansOf } = stepIn(options);
    using _ = step;
    const [, { training, savedBytes }] = plansOf(sequence(200, 1));
    const backward = training.calls.filter(({ label }) => label.startsWith("backward"));
    const read = backward.flatMap(({ feeds }) => [...feeds.values()]);
    assertEquals(read.filter(isEarlier), []);
    const earlier = read.filter((name) => name.startsWith(float16Name("earlier:")));
    const bytes = earlier.map((name) => training.memory.placements.get(name)!.bytes);
    assert(earlier.length > 2 && savedBytes > bytes.reduce((sum, each) => sum + each));
  });
}
