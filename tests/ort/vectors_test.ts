import { assert, assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { findVectors } from "../../src/lora/vectors/find.ts";
import { ownVectors, trainVectors, vectorName, withVectors } from "../../src/lora/vectors/train.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { modelDigest } from "../../src/lora/digest.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { merge } from "../../src/tasks/merge.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { halfModel } from "../helpers/half_model.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import {
  assertGradientsOfDifferences,
  batchOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
} from "../helpers/training_step.ts";

const MODELS: Readonly<Record<string, () => Model>> = Object.fromEntries(
  [
    "tiny-llama-genai-int4",
    "tiny-llama-torch-fp32",
    "tiny-bert-torch-fp32",
    ...Array.from(Deno.readDirSync(modelDir("dialects")), ({ name }) => `dialects/${name}`).sort(),
    // Read as QDQ where models are opened.
  ].filter((name) => !name.endsWith("qoperator")).map((
    name,
  ) => [name, () => readModel(modelDir(name))]),
);

/** The trained tensors of a model, moved a little: the same for the same name. */
function moved(model: Model, trained: ReadonlyMap<string, unknown>): Map<string, Tensor> {
  return new Map([...trained.keys()].map((name) => {
    const { dims } = model.graph.initializers.get(name)!;
    const values = toNumbers(model.graph.initializers.get(name)!);
    return [name, float32(dims, Float32Array.from(values, (x, i) => x + 0.1 * Math.sin(i + 1)))];
  }));
}

for (const [name, read] of Object.entries(MODELS)) {
  Deno.test(`trainVectors() computes what withVectors() does on ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = read();
    const output = base.graph.outputs[0].name;
    const run = (model: Model) =>
      runOutput(runner, model, tokenFeeds(2, 7, 100), output, { optimization: "disabled" });
    const vectors = findVectors(base);
    assert(vectors.length > 0, "none is found");
    assertEquals(new Set(vectors.map(vectorName)).size, vectors.length);
    const { model, trainable } = trainVectors(ownVectors(base, vectors));
    assertEquals(trainable.size, vectors.length);
    const before = await run(base);
    assertEquals(await run(model), before);
    const changed = moved(model, trainable);
    const initializers = new Map([...model.graph.initializers, ...changed]);
    const trained = await run({ ...model, graph: { ...model.graph, initializers } });
    const values = new Map([...trainable].map(([name, { path, which }]) => [
      `${path}.${which.slice("vector ".length)}`,
      changed.get(name)!,
    ]));
    assertEquals(await run(withVectors(base, values).model), trained);
    assert(difference(trained, before).relative > 1e-3);
  });
}

Deno.test("trainVectors() of a model in float16 trains float32", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = halfModel(readModel(modelDir("tiny-bert-torch-fp32")));
  const { model, trainable } = trainVectors(ownVectors(base, findVectors(base)));
  for (const name of trainable.keys()) {
    assertEquals(model.graph.initializers.get(name)!.dtype, "float32");
  }
  const run = (model: Model) => runOutput(runner, model, tokenFeeds(2, 7, 100));
  assert(difference(await run(model), await run(base)).relative < 2e-3);
});

for (const [name, objective] of Object.entries(STEP_MODELS) as [StepModelName, "causal"][]) {
  Deno.test(`PlannedModel has the gradients of vectors on ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = readModel(modelDir(name));
    const wanted = findVectors(base).filter((_, i) => i % 3 === 0);
    const { model, trainable } = trainVectors(ownVectors(base, wanted));
    using step = new PlannedModel({
      runner,
      model,
      trainable: new Set(trainable.keys()),
      objective,
    });
    await assertGradientsOfDifferences(step, batchOf(rowsOf([9, 5, 7]), 9, objective));
  });
}

Deno.test("merge() writes trained vectors into the data file, and computes what the adapter does", () =>
  inTempDir(async (folder) => {
    using runner = createOrtRunner({ threads: 1 });
    const name = "tiny-llama-genai-int4";
    const base = readModel(modelDir(name));
    const { model, trainable } = trainVectors(ownVectors(base, findVectors(base)));
    const changed = moved(model, trainable);
    const adapter = {
      lora: new Map(),
      saved: new Map(),
      vectors: new Map([...trainable].map(([name, { path, which }]) => [
        `${path}.${which.slice("vector ".length)}`,
        changed.get(name)!,
      ])),
      config: {
        ...{ ...DEFAULT_LORA, adapterType: "lora" as const, rank: 0, gaussian: false },
        ...{ targetModules: ["norm"], vectorMethod: "ln_tuning" as const },
      },
      card: { baseDigest: modelDigest(base), task: "causal" as const, config: {} },
    };
    const adapterPath = `${folder}/adapter`;
    saveAdapter(adapterPath, adapter);
    const loaded = loadAdapter(adapterPath).adapter;
    assertEquals(loaded.vectors, adapter.vectors);
    const savePath = `${folder}/merged`;
    await merge({ model: modelDir(name), adapterPath: [adapterPath], savePath, method: "nearest" });
    const run = (model: Model) => runOutput(runner, model, tokenFeeds(2, 7, 100));
    assertEquals(await run(readModel(savePath)), await run(applyAdapter(base, loaded).model));
  }));

Deno.test("withVectors() refuses vectors that the base does not have, or in another size", () => {
  const base = readModel(modelDir("tiny-llama-genai-int4"));
  const one = (name: string, size: number) =>
    new Map([[name, float32([size], Array(size).fill(1))]]);
  assertThrows(
    () => withVectors(base, one("model.nom.weight", 64)),
    BadInputError,
    "model.nom.weight",
  );
  assertThrows(
    () => withVectors(base, one("model.norm.weight", 63)),
    BadInputError,
    'The adapter\'s "model.norm.weight" must be [64]: current shape is [63]',
  );
});
