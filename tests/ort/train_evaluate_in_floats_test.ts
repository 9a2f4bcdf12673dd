import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { TokenBatch } from "../../src/data/targets.ts";
import { evaluateModel } from "../../src/eval/evaluate.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { evaluatorInFloats } from "../../src/train/evaluate_in_floats.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { batchOf, rowsOf } from "../helpers/training_step.ts";

const batchesFor = (objective: "causal" | "classification") =>
  [[5, 12, 9], [16, 7, 30], [21, 40, 3]].map((lengths) => batchOf(rowsOf(lengths), 40, objective));

/** Loss of training's own validation. */
async function validated(
  options: ConstructorParameters<typeof PlannedModel>[0],
  batches: readonly TokenBatch[],
): Promise<number> {
  using step = new PlannedModel(options);
  let [sum, count] = [0, 0];
  for (const batch of batches) {
    const { lossSum, targetCount } = await step.evaluate(batch);
    sum += lossSum;
    count += targetCount;
  }
  return sum / count;
}

for (const name of ["tiny-llama-genai-int4", "tiny-llama-genai-fp32", "tiny-llama-torch-fp32"]) {
  Deno.test(`evaluatorInFloats() gives validation's loss and the runtime's logits, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const model = readModel(modelDir(name));
    const batches = batchesFor("causal");
    const options = { objective: "causal", logitRows: 20 } as const;
    const found = await evaluatorInFloats(runner, { fewProducts: 0 })(model, batches, options);
    const runtimes = await evaluateModel(runner, model, batches, options);
    const trainable = new Set<string>();
    const expected = await validated({ runner, model, trainable, objective: "causal" }, batches);
    assertAlmostEquals(found.loss, expected, 1e-6);
    assertEquals(found.count, runtimes.count);
    assertEquals(found.logits.length, runtimes.logits.length);
    found.logits.forEach((logit, i) => assertAlmostEquals(logit, runtimes.logits[i], 1e-4));
    const rounds = name.endsWith("int4");
    assertAlmostEquals(found.loss, runtimes.loss, rounds ? 0.01 : 1e-5);
    assertEquals(found.roundingDifference !== undefined, rounds);
    if (rounds) assert(found.roundingDifference! > 1e-4 && found.roundingDifference! < 0.1);
  });
}

Deno.test("evaluatorInFloats() takes losses that are known in floats, and never beside the runtime's", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const model = readModel(modelDir("tiny-llama-genai-int4"));
  const batches = batchesFor("causal");
  const options = { objective: "causal", logitRows: 20 } as const;
  const computed = await evaluatorInFloats(runner, { fewProducts: 0 })(model, batches, options);
  const known = { losses: [30, 60, 90], targets: [20, 20, 20] };
  const taken = await evaluatorInFloats(runner, { fewProducts: 0 })(model, batches, {
    ...options,
    known,
  });
  assertEquals([taken.loss, taken.count, taken.partLosses], [3, 60, known.losses]);
  assertEquals(taken.logits, computed.logits);
  const few = await evaluatorInFloats(runner)(model, batches, { ...options, known });
  assertEquals(few, await evaluateModel(runner, model, batches, options));
});

Deno.test("evaluatorInFloats() leaves rounding that the graph demands, and little data, to the runtime", async () => {
  using runner = createOrtRunner({ threads: 1 });
  for (
    const [name, objective, fewProducts] of [
      ["tiny-bert-dynamic-int8", "classification", 0],
      ["tiny-llama-genai-int4", "causal", 3e11],
    ] as const
  ) {
    const model = readModel(modelDir(name));
    const evaluateInFloats = evaluatorInFloats(runner, { fewProducts });
    const found = await evaluateInFloats(model, batchesFor(objective), { objective });
    assertEquals(found, await evaluateModel(runner, model, batchesFor(objective), { objective }));
  }
});
