import { assert, assertEquals } from "@std/assert";
import type { Model } from "../../src/graph/types.ts";
import { adapterSites, applyAdapter } from "../../src/lora/apply.ts";
import { withMagnitudes } from "../../src/lora/dora.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { initAdapter } from "../../src/lora/init.ts";
import { inject } from "../../src/lora/inject.ts";
import { adapterChanges, withAdapters } from "../../src/lora/merge/adapters.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { doraAdapter } from "../helpers/dora_adapter.ts";
import { prune } from "../../src/graph/passes/prune.ts";
import { rewriteDynamicQuantization } from "../../src/ops/quantized/pattern.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { exactKernels } from "../helpers/exact_kernels.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import {
  assertGradientsOfDifferences,
  assertSame,
  batchOf,
  gradientsOf,
  norm,
  rowsOf,
  STEP_MODELS,
  type StepHow,
  type StepModelName,
} from "../helpers/training_step.ts";
import { withArithmetic } from "../helpers/arithmetic.ts";
import { sampled } from "../helpers/sampled.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";

const FORMS = [
  "tiny-llama-genai-fp32",
  "tiny-llama-genai-int4",
  "tiny-llama-torch-fp32",
  "tiny-bert-torch-fp32",
  "tiny-bert-dynamic-int8",
  ...Array.from(Deno.readDirSync(modelDir("dialects")), ({ name }) => `dialects/${name}`).sort(),
];

const EVERYWHERE = { targetModules: ["all-linear"] };

for (const name of sampled(FORMS)) {
  Deno.test(`applyAdapter() of DoRA: norms of the graph that trains are the stored weights' on ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = exactKernels(readModel(modelDir(name)));
    const output = base.graph.outputs[0].name;
    const run = (model: Model) =>
      runOutput(
        runner,
        { ...model, graph: prune(rewriteDynamicQuantization(model.graph)) },
        tokenFeeds(2, 7, 100),
        output,
        // Further fusions would round activations again.
        { optimization: "basic" },
      );
    const adapter = doraAdapter(base, EVERYWHERE);
    const finished = await run(applyAdapter(base, adapter).model);
    const trains = await run(applyAdapter(base, adapter, { trains: true }).model);
    // The kernel of DynamicQuantizeMatMul rounds activations.
    const tolerance = name.endsWith("integer-to-float") ? 0.05 : 2e-5;
    const close = (values: Float32Array, expected: Float32Array, what: string) => {
      const { relative } = difference(values, expected);
      assert(relative <= tolerance, `${what} differs by ${relative}`);
    };
    close(trains, finished, "the graph that trains");
    // With the norms as magnitudes, DoRA is LoRA.
    const plain = doraAdapter(base, EVERYWHERE, 0);
    const pairs = new Map([...plain.lora].map(([path, { a, b }]) => [path, { a, b }]));
    const lora = inject(base, adapterSites(findModules(base), plain), pairs).model;
    close(await run(applyAdapter(base, plain, { trains: true }).model), await run(lora), "LoRA");
    const changes = adapterChanges(base, [{ adapter, label: "dora", weight: 1 }]);
    close(await run(withAdapters(base, changes)), finished, "the adapter beside a merge");
    const { model: merged } = await mergeModel(base, changes.changes, "float");
    close(await run(merged), finished, "the merged model");
    assert(difference(await run(base), finished).relative > 0.1);
  });
}

/** A step over a fixture's model with a DoRA adapter on all of its layers. */
function doraStep(runner: Runner, name: StepModelName, how: StepHow = {}): PlannedModel {
  const base = readModel(modelDir(name));
  const config = { ...EVERYWHERE, dropout: how.dropout ?? 0 };
  const { model, trainable } = applyAdapter(base, doraAdapter(base, config), {
    dropout: true,
    trains: true,
  });
  const options = { runner, model, trainable: new Set(trainable.keys()), ...how };
  return new PlannedModel(withArithmetic({ objective: STEP_MODELS[name], ...options }, runner));
}

const WAYS: Readonly<Record<string, StepHow>> = {
  "keeping activations": { keepBytes: 1e9, kept: "whole" },
  "with its weights taken apart": { keepBytes: 1e9, kept: "whole", readyWeights: true },
  "in three parts": { shards: 3 },
  "with dropout": { dropout: 0.25 },
};

const MODELS = Object.entries(STEP_MODELS) as [StepModelName, "causal"][];

for (const [i, [name, objective]] of MODELS.entries()) {
  const batch = batchOf(rowsOf([9, 5, 7]), 9, objective);
  for (const [title, how] of sampled(Object.entries(WAYS), i)) {
    Deno.test(`PlannedModel of DoRA has one gradient on ${name}, ${title}`, async () => {
      using runner = createOrtRunner({ threads: 1 });
      using step = doraStep(runner, name, how);
      using plain = doraStep(runner, name, { dropout: how.dropout });
      assertSame(await gradientsOf(step, [batch], 3), await gradientsOf(plain, [batch], 3));
    });
  }

  Deno.test(`PlannedModel of DoRA has the magnitudes' gradients on ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = readModel(modelDir(name));
    const adapter = doraAdapter(base, { targetModules: ["attention"] });
    const { model, trainable } = applyAdapter(base, adapter, { trains: true });
    const magnitudes = new Set([...trainable.keys()].filter((name) => name.includes("magnitude")));
    using step = new PlannedModel({ runner, model, trainable: magnitudes, objective });
    assertEquals(step.parameters.length, adapter.lora.size);
    await assertGradientsOfDifferences(step, batch);
  });

  Deno.test(`PlannedModel of DoRA in 8 bits follows the direction of floats on ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using exact = doraStep(runner, name);
    using fast = doraStep(runner, name, { numeric: "fast" });
    const [one, other] = [exact, fast].map((step) => gradientsOf(step, [batch]));
    const [expected, found] = [await one, await other];
    const flat = ({ gradients }: typeof found) => [...gradients.values()].flatMap((g) => [...g]);
    const [a, b] = [flat(expected), flat(found)];
    const cosine = a.reduce((sum, x, i) => sum + x * b[i], 0) / (norm(a) * norm(b));
    assert(cosine >= 0.98, `cosine is ${cosine}`);
  });
}

Deno.test("withMagnitudes() of a new adapter leaves the base as it is, bit for bit", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir("tiny-llama-genai-int4"));
  const sites = resolveTargets(findModules(base), { ...DEFAULT_LORA, ...EVERYWHERE });
  const start = initAdapter(sites, "kaiming", Random.fromSeed(1));
  const { model } = inject(base, sites, withMagnitudes(indexGraph(base.graph), sites, start));
  const run = (model: Model) =>
    runOutput(runner, model, tokenFeeds(2, 7, 100), "logits", { optimization: "disabled" });
  assertEquals(await run(model), await run(base));
});
