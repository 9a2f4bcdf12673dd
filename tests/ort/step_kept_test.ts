import { assert, assertEquals } from "@std/assert";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import {
  adapted,
  batchOf,
  gradientDistance,
  gradientsOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";
import { compareGradients } from "../../src/train/check_fast.ts";

const LENGTH = 24;
/** At which scores are larger than their operands. */
const LONG = 50;
const WIDTH = 64;
const TARGETS = 16;

Deno.test("planTraining() keeps in fast rows of tokens in 8 bits, and attention's probabilities in float16", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const { training } = planTraining(model, {
    ...{ batch: 2, length: LENGTH, targetRows: TARGETS, trainable },
    ...{ arithmetic: arithmeticOf({ numeric: "fast" }), keepBytes: 1e9 },
  });
  const kept = training.calls.flatMap(({ graph, fetches }) =>
    graph.outputs.map(({ name, type }) => ({
      form: fetches.get(name)!.split(":")[0],
      type: type!.dtype,
      dims: type!.shape as readonly number[],
    }))
  );
  const of = (form: string) => kept.filter((tensor) => tensor.form === form);
  assert(of("codes").length > 0);
  // At the model's end the target rows are all there are.
  const isRows = (rows: number) => rows === 2 * LENGTH || rows === TARGETS;
  for (const { type, dims } of of("codes")) {
    assert(type === "int8" && isRows(dims[0]) && dims[1] >= WIDTH, `${type} ${dims}`);
  }
  assertEquals(of("scales").length, of("codes").length);
  for (const { type, dims } of of("scales")) {
    assert(type === "float32" && dims.length === 1 && isRows(dims[0]), `${type} ${dims}`);
  }
  const inFloat16 = new Set(of("float16").map(({ type, dims }) => `${type} ${dims.at(-1)}`));
  assert(inFloat16.has(`float16 ${LENGTH}`), "probabilities");
  assert(inFloat16.has(`float16 ${WIDTH}`), "what runs between segments");
});

Deno.test("planTraining() keeps rotated queries and keys, and values, whole in exact, where scores are larger", () => {
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")));
  const keptAt = (length: number) => {
    const { training } = planTraining(model, {
      ...{ batch: 2, length, targetRows: 16, trainable },
      keepBytes: 1e9,
    });
    return training.calls.flatMap(({ graph, fetches }) =>
      graph.outputs.map(({ name, type }) => ({
        kept: fetches.get(name)!,
        dtype: type!.dtype,
        width: type!.shape!.at(-1),
      }))
    );
  };
  const isScores = (length: number) => ({ width }: { width?: unknown }) => width === length;
  assert(keptAt(LENGTH).some(isScores(LENGTH)));
  const long = keptAt(LONG);
  assertEquals(long.filter(isScores(LONG)), []);
  const kindOf = (value: string) => value.replace(/~.*/, "");
  const attended = long.filter(({ kept }) => /^(half:)?(Rotary|Split|.*qkv_proj\/)/.test(kept))
    .map(({ kept, dtype, width }) => [kindOf(kept), dtype, width]);
  const ofLayer = [
    ["RotaryEmbedding", "float32", WIDTH],
    ["RotaryEmbedding", "float32", WIDTH / 2],
    ["Split", "float32", WIDTH / 2],
  ];
  assertEquals(attended, [...ofLayer, ...ofLayer], "and not what these are made of");
});

for (const numeric of ["exact", "fast"] as const) {
  Deno.test(`${numeric} has the same gradient from scores that are computed again`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const name = "tiny-llama-genai-int4";
    const batch = batchOf(rowsOf([LONG, 20, 37]), LONG, STEP_MODELS[name]);
    const gradient = async (how: Parameters<typeof stepOn>[2]) => {
      using step = stepOn(runner, name, how);
      return await gradientsOf(step, [batch]);
    };
    const all = await gradient({ numeric, keepBytes: 0, kept: "whole" });
    const kept = await gradient({ numeric, keepBytes: 1e9, kept: "whole" });
    const { parameter, error } = gradientDistance(kept, all);
    assert(error <= 1e-5, `gradient of ${parameter} off by ${error}`);
  });
}

for (const name of Object.keys(STEP_MODELS) as StepModelName[]) {
  Deno.test(`fast has a gradient with kept activations that is hardly further from exact's, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const batch = batchOf(rowsOf([9, 6, 16]), 16, STEP_MODELS[name]);
    const gradients = async (how: Parameters<typeof stepOn>[2]) => {
      using step = stepOn(runner, name, how);
      const { gradients } = await gradientsOf(step, [batch]);
      return [...gradients.values()].map((values) => Float32Array.from(values));
    };
    const exact = await gradients({});
    const fast = { numeric: "fast", integerForm: RIGHT_FORMS[0] } as const;
    const errorOf = async (keepBytes: number) =>
      compareGradients(exact, await gradients({ ...fast, keepBytes })).relativeError;
    const [computed, kept] = [await errorOf(0), await errorOf(1e9)];
    assert(kept < 1.1 * computed, `relative error ${kept}, computed again ${computed}`);
  });
}
