/** Plans over the sizes of batches: one for all batches at which the planner decides the same. */
import { assertEquals } from "@std/assert";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { bindPlan } from "../../src/plan/bind_plan.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planOverSizes, type TrainingPlan } from "../../src/plan/plan.ts";
import { SIZE_NAMES } from "../../src/plan/step_sizes.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { planAtBatch } from "../helpers/plan_at_batch.ts";
import { planText } from "../helpers/plan_text.ts";
import { sampled } from "../helpers/sampled.ts";
import { adapted, STEP_MODELS, type StepModelName } from "../helpers/training_step.ts";

type Sizes = Partial<PlanOptions> & Pick<PlanOptions, "batch" | "length">;

/** Two batches of one kind, whose sizes coincide nowhere with each other or with a model's. */
type Pair = readonly [Sizes, Sizes];

const BATCHES: Readonly<Record<string, Pair>> = {
  "padded": [{ batch: 6, length: 44, targetRows: 90 }, { batch: 11, length: 37, targetRows: 138 }],
  "packed": [
    { batch: 6, length: 44, packedRows: 150, targetRows: 90 },
    { batch: 6, length: 37, packedRows: 131, targetRows: 77 },
  ],
  "a single sequence": [
    { batch: 1, length: 44, targetRows: 30 },
    { batch: 1, length: 37, targetRows: 20 },
  ],
};

/** Of language models alone. */
const CAUSAL_BATCHES: Readonly<Record<string, Pair>> = {
  ...Object.fromEntries((["together", "by sequence"] as const).map((prefixSums): [string, Pair] => [
    `a common beginning, summed ${prefixSums}`,
    [
      { batch: 4, length: 80, packedRows: 200, targetRows: 160, commonTokens: 24, prefixSums },
      { batch: 4, length: 73, packedRows: 190, targetRows: 140, commonTokens: 21, prefixSums },
    ],
  ])),
  "a span": [
    {
      ...{ batch: 1, length: 110, packedRows: 47, targetRows: 20 },
      span: { from: 63, continues: true },
    },
    {
      ...{ batch: 1, length: 101, packedRows: 42, targetRows: 17 },
      span: { from: 59, continues: true },
    },
  ],
};

/** Ways of planning that take other paths through the planner. */
const WAYS: Readonly<Record<string, Partial<PlanOptions>>> = {
  "exact": {},
  "exact, all kept": { keepBytes: 1e9 },
  "fast, dropout": { arithmetic: arithmeticOf({ numeric: "fast" }), dropout: 0.2, keepBytes: 1e9 },
  "signed": { arithmetic: arithmeticOf({ numeric: "fast", integerForm: "s8s8" }), inTiles: true },
};
/** What is made of weights alone is told from what sizes enter: of a BERT, numbers hide which is which. */
const SHARED = { sharesWeights: true, passes: ["training"] } as const;

const waysOf = (name: StepModelName) =>
  Object.entries<Partial<PlanOptions>>(
    STEP_MODELS[name] === "causal" ? { ...WAYS, "shared weights": SHARED } : WAYS,
  );

const batchesOf = (name: StepModelName) =>
  Object.entries(
    name === "tiny-llama-genai-int4" ? { ...BATCHES, ...CAUSAL_BATCHES } : BATCHES,
  );

const placesOf = ({ training: { memory } }: TrainingPlan) => [memory.bytes, ...memory.placements];
const inputsOf = ({ inputs }: TrainingPlan) => [...inputs].sort(([a], [b]) => a < b ? -1 : 1);

/** A fixture's model with adapters, and the sizes that its objective has. */
function modelOf(name: StepModelName, dropout = 0) {
  const { model, trainable } = adapted(readModel(modelDir(name)), { dropout });
  const sizesOf = ({ targetRows, ...sizes }: Sizes) =>
    STEP_MODELS[name] === "causal" ? { ...sizes, targetRows } : sizes;
  return { model, trainable, sizesOf };
}

for (const name of Object.keys(STEP_MODELS) as StepModelName[]) {
  for (const [i, [batches, [here, there]]] of batchesOf(name).entries()) {
    Deno.test(`bindPlan() gives the plan that is made for a batch in numbers, ${batches}, ${name}`, () => {
      for (const [way, how] of sampled(waysOf(name), i)) {
        const { model, trainable, sizesOf } = modelOf(name, how.dropout);
        const optionsOf = (sizes: Sizes) => ({ ...sizesOf(sizes), trainable, ...how });
        const plan = planOverSizes(model, optionsOf(here));
        for (const sizes of [here, there]) {
          const options = optionsOf(sizes);
          const bound = bindPlan(plan, options);
          if (bound === undefined) {
            throw new Error(`${way}: ${JSON.stringify(sizes)} is not served`);
          }
          const made = bindPlan(planOverSizes(model, options, SIZE_NAMES), options)!;
          const [found, expected] = [bound, made].map((plan) =>
            planText(model, planAtBatch(model, plan))
          );
          for (const [i, entry] of expected.entries()) assertEquals(found[i], entry, way);
          assertEquals(found.length, expected.length, way);
          assertEquals(placesOf(bound), placesOf(made), way);
          assertEquals(inputsOf(bound), inputsOf(made), way);
        }
      }
    });

    Deno.test(`planOverSizes() settles no size, ${batches}, ${name}`, () => {
      for (const [way, how] of waysOf(name)) {
        const { model, trainable, sizesOf } = modelOf(name, how.dropout);
        const { sizes } = planOverSizes(model, { ...sizesOf(here), trainable, ...how });
        assertEquals([...sizes.settledSymbols], [], way);
        const numbers = sizes.decisions.filter(({ text, outcome }) =>
          typeof outcome === "number" && !/, 2 for all from 2 on$|^blocks of| nodes$/.test(text)
        );
        assertEquals(numbers, [], way);
      }
    });
  }
}
