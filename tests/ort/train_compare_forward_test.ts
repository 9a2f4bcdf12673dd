import { assert, assertEquals, assertRejects } from "@std/assert";
import { BadInputError, RefusedError } from "../../src/errors.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import {
  compareForward,
  DYNAMIC_TOLERANCE,
  FORWARD_TOLERANCE,
} from "../../src/train/compare_forward.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import {
  adapted,
  batchOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
} from "../helpers/training_step.ts";
import { tinyTokens, virtualAdapter } from "../helpers/virtual_tokens.ts";

const batchFor = (name: StepModelName) => batchOf(rowsOf([9, 6]), 9, STEP_MODELS[name]);

/** Rows for a vocabulary of 128. */
const SMALL_IDS = rowsOf([9, 6]).map((row) => ({ ...row, ids: row.ids.map((id) => id % 100) }));

const CASES = [
  { name: "tiny-llama-torch-fp32", dynamic: false, least: 0 },
  // It allows to round activations; on x86 without AVX2 ONNX Runtime multiplies floats all the same.
  { name: "tiny-llama-genai-int4", dynamic: true, least: 0 },
  { name: "tiny-bert-dynamic-int8", dynamic: true, least: 1e-4 },
] as const;

for (const { name, dynamic, least } of CASES) {
  Deno.test(`compareForward() finds ${name} ${dynamic ? "near" : "equal to"} what is lowered`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const made = adapted(readModel(modelDir(name)));
    using step = new PlannedModel({ runner, ...made, objective: STEP_MODELS[name] });
    const found = await compareForward(runner, made.model, step, batchFor(name));
    assertEquals(found.dynamic, dynamic);
    const most = dynamic ? DYNAMIC_TOLERANCE : FORWARD_TOLERANCE;
    assert(found.relativeDifference >= least && found.relativeDifference < most / 2);
    assert(found.rows > 0);
  });
}

/** bert-qdq and a batch that it reads, its activations' steps times `factor`. */
function statically(runner: Runner, factor: number) {
  const read = readModel(modelDir("dialects/bert-qdq"));
  const scales = new Set(
    read.graph.nodes.flatMap(({ opType, inputs }) => opType === "QuantizeLinear" ? inputs[1] : []),
  );
  const initializers = new Map([...read.graph.initializers].map(([name, value]) => [
    name,
    scales.has(name) ? float32(value.dims, [toNumbers(value)[0] as number * factor]) : value,
  ]));
  const made = adapted({ ...read, graph: { ...read.graph, initializers } });
  const step = new PlannedModel({ runner, ...made, objective: "classification" });
  return { model: made.model, step, batch: batchOf(SMALL_IDS, 9, "classification") };
}

Deno.test("compareForward() expects a difference where a file's own scales round activations", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { model, step, batch } = statically(runner, 1);
  using _step = step;
  const { dynamic, relativeDifference } = await compareForward(runner, model, step, batch);
  assert(dynamic && relativeDifference > FORWARD_TOLERANCE, `${relativeDifference}`);
});

Deno.test("compareForward() lets activations differ more that a file's own scales round", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { model, step, batch } = statically(runner, 4);
  using _step = step;
  const { relativeDifference } = await compareForward(runner, model, step, batch);
  assert(relativeDifference > DYNAMIC_TOLERANCE, `${relativeDifference}`);
});

for (const method of ["prompt_tuning", "prefix_tuning"] as const) {
  Deno.test(`compareForward() lets activations differ more that a model rounds behind random values of ${method}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = readModel(modelDir("tiny-llama-genai-int4"));
    const adapter = virtualAdapter(base, tinyTokens(method));
    const values = adapter.promptEmbeddings!;
    // What rounding does to the tokens' states of a larger model is done to their values here.
    const rounded = float32(
      values.dims,
      Float32Array.from(toNumbers(values), (x) => Math.round(1.2 * (x as number)) / 1.2),
    );
    const { model } = applyAdapter(base, adapter);
    const { model: other, trainable } = applyAdapter(base, {
      ...adapter,
      promptEmbeddings: rounded,
    });
    const made = { model: other, trainable: new Set(trainable.keys()) };
    using step = new PlannedModel({ runner, ...made, objective: "causal" });
    const rows = rowsOf([9, 7]).map((row) => ({ ...row, ids: [512, 513, 514, ...row.ids] }));
    const batch = batchOf(rows.map((row) => ({ ...row, prompt: 5 })), 12, "causal");
    const { relativeDifference } = await compareForward(runner, model, step, batch);
    assert(relativeDifference > DYNAMIC_TOLERANCE, `${relativeDifference}`);
  });
}

Deno.test("compareForward() refuses activations rounded to next to nothing, and says what to do", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { model, step, batch } = statically(runner, 30);
  using _step = step;
  await assertRejects(
    () => compareForward(runner, model, step, batch),
    RefusedError,
    "quantise it with ranges of data like this",
  );
});

Deno.test("compareForward() refuses to learn texts with a model that sees the tokens it predicts", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const made = adapted(readModel(modelDir("dialects/bert-masked")));
  using step = new PlannedModel({ runner, ...made, objective: "causal" });
  await assertRejects(
    () => compareForward(runner, made.model, step, batchOf(SMALL_IDS, 9, "causal")),
    BadInputError,
    "the model is no language model: what it predicts of a token changes with the tokens after it",
  );
});

/** The model with the first matrix of this shape a little larger. */
function scaled(model: Model, dims: string, factor: number): Model {
  const [name, weight] = [...model.graph.initializers].find(([, tensor]) =>
    tensor.dtype === "float32" && tensor.dims.join() === dims
  )!;
  const larger = float32(weight.dims, Float32Array.from(toNumbers(weight), (v) => v * factor));
  const initializers = new Map(model.graph.initializers).set(name, larger);
  return { ...model, graph: { ...model.graph, initializers } };
}

Deno.test("compareForward() refuses a lowered graph that computes something else, with the figures", async () => {
  const name = "tiny-llama-torch-fp32";
  using runner = createOrtRunner({ threads: 1 });
  const { model, trainable } = adapted(readModel(modelDir(name)));
  using step = new PlannedModel({
    runner,
    model: scaled(model, "64,128", 1.1),
    trainable,
    objective: "causal",
  });
  await assertRejects(
    () => compareForward(runner, model, step, batchFor(name)),
    RefusedError,
    `must be <= ${FORWARD_TOLERANCE}: current value is 0.`,
  );
});
