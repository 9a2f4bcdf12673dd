import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { UnsupportedError } from "../../src/ops/types.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { rateFor, tuneScales } from "../../src/train/tune_scales.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { adapted, batchOf, rowsOf } from "../helpers/training_step.ts";

const NAME = "tiny-llama-genai-int4";

/** Σ over target rows of the cross entropy of a row's logits with the probabilities of another's. */
function crossEntropy(teacher: Float32Array, student: Float32Array, classes: number): number {
  let sum = 0;
  for (let row = 0; row < student.length; row += classes) {
    const [p, q] = [teacher, student].map((of) => {
      const logits = Float64Array.from(of.subarray(row, row + classes));
      const most = Math.max(...logits);
      const scale = logits.reduce((total, value) => total + Math.exp(value - most), 0);
      return logits.map((value) => value - most - Math.log(scale));
    });
    for (let i = 0; i < classes; i++) sum -= Math.exp(p[i]) * q[i];
  }
  return sum;
}

Deno.test("PlannedModel with a teacher has the gradient of its cross entropy with the teacher", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir(NAME));
  const { model, trainable } = adapted(base, { targetModules: ["v_proj"] });
  const batch = batchOf(rowsOf([9, 14, 6]), 14, "causal");
  // Small chunks, so that the head has several.
  const common = { runner, objective: "causal", distils: true, headChunk: 128 } as const;
  using teacher = new PlannedModel({ ...common, model: base, trainable: new Set() });
  using student = new PlannedModel({ ...common, model, trainable, teacher });
  student.zeroGrad();
  await student.accumulate(batch, 0);
  const [parameter] = student.parameters;
  const gradient = toNumbers(parameter.grad!.read()) as Float32Array;
  const wanted = await teacher.logits(batch);
  const classes = wanted.dims[1];
  const start = Float32Array.from(toNumbers(parameter.value.read()));
  const lossWith = async (values: Float32Array) => {
    const changed = new Map(model.graph.initializers)
      .set(parameter.name, float32(parameter.dims, values));
    using step = new PlannedModel({
      ...common,
      model: { ...model, graph: { ...model.graph, initializers: changed } },
      trainable,
      teacher,
    });
    const found = await step.logits(batch);
    return crossEntropy(
      toNumbers(wanted) as Float32Array,
      toNumbers(found) as Float32Array,
      classes,
    );
  };
  // Along the gradient itself, where the difference is largest.
  const norm = Math.hypot(...gradient);
  assert(norm > 1e-3, `${norm}`);
  const step = 0.02;
  const at = (by: number) => lossWith(start.map((value, i) => value + by * gradient[i] / norm));
  const slope = (await at(step) - await at(-step)) / (2 * step);
  assertAlmostEquals(slope, norm, 0.01 * norm);
});

Deno.test("PlannedModel that is its own teacher has a gradient of nothing, and the labels' loss", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const { model, trainable } = adapted(readModel(modelDir(NAME)), { targetModules: ["v_proj"] });
  const batch = batchOf(rowsOf([9, 14, 6]), 14, "causal");
  const common = { runner, model, trainable, objective: "causal", headChunk: 128 } as const;
  using teacher = new PlannedModel({ ...common, distils: true });
  using student = new PlannedModel({ ...common, distils: true, teacher });
  using alone = new PlannedModel(common);
  const norms: number[] = [];
  const losses: number[] = [];
  for (const step of [student, alone]) {
    step.zeroGrad();
    losses.push((await step.accumulate(batch, 0)).lossSum);
    norms.push(Math.hypot(...step.parameters.flatMap(({ grad }) => [...toNumbers(grad!.read())])));
  }
  assertAlmostEquals(losses[0], losses[1], 1e-4);
  assert(norms[0] < 1e-4 * norms[1], `${norms}`);
  assertEquals(student.parameters.length, alone.parameters.length);
});

Deno.test("tuneScales() with a teacher brings a model nearer to it than labels do", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir(NAME));
  const { model: teacher } = adapted(base, { targetModules: ["v_proj", "down_proj"] });
  const batch = batchOf(rowsOf([9, 14, 6]), 14, "causal");
  const all = findModules(base).map(({ path }) => path);
  const paths = new Set(all.filter((path) => path !== "lm_head"));
  const logits = async (model: Model) => {
    using step = new PlannedModel({ runner, model, trainable: new Set(), objective: "causal" });
    return await step.logits(batch);
  };
  const wanted = await logits(teacher);
  const distance = async (model: Model) =>
    crossEntropy(
      toNumbers(wanted) as Float32Array,
      toNumbers(await logits(model)) as Float32Array,
      wanted.dims[1],
    );
  const tuned = async (to: Model | undefined, some: Iterable<string> = paths) => {
    const scales = await tuneScales(runner, base, {
      paths: new Set(some),
      objective: "causal",
      data: { batches: () => 1, batch: () => Promise.resolve(batch) },
      teacher: to,
      steps: 8,
      learningRate: 3e-3,
      random: Random.fromSeed(1),
      headChunk: 128,
    });
    const changes = [...scales].map(([path, by]) => ({ path, updates: [], scaleUpdates: [by] }));
    return await distance((await mergeModel(base, changes, "scales")).model);
  };
  const least = await distance(teacher);
  const [before, student, labelled] = [
    await distance(base) - least,
    await tuned(teacher) - least,
    await tuned(undefined) - least,
  ];
  // A head that is trained itself does not run in chunks.
  await assertRejects(
    () => tuned(teacher, all),
    UnsupportedError,
    "needs a head that runs in chunks",
  );
  assert(student < 0.8 * before, `${student} of ${before}`);
  assert(student < labelled, `${student} and ${labelled} of ${before}`);
});

Deno.test("rateFor() lowers the rate of updates with few targets, and no further than to a fifth", () => {
  assertEquals([1000, 400, 200, 80, 3].map((targets) => rateFor(0.01, targets)), [
    0.01,
    0.01,
    0.005,
    0.002,
    0.002,
  ]);
});
