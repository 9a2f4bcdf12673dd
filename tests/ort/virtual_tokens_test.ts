import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { BadInputError, UsageError } from "../../src/errors.ts";
import {
  fineTune,
  type FineTuneEvent,
  type FineTuneInput,
  resumedConfig,
} from "../../src/finetune/mod.ts";
import { int64 } from "../../src/graph/tensor.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { composeAdapters } from "../../src/tasks/compose.ts";
import { evaluate } from "../../src/tasks/evaluate.ts";
import { exportAdapters } from "../../src/tasks/export.ts";
import { InferenceModel } from "../../src/tasks/inference_model.ts";
import { merge } from "../../src/tasks/merge.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { openMapped } from "../../src/system/mapped_file.ts";
import { difference, runOutput } from "../helpers/logits.ts";
import { digestIn, trainTo } from "../helpers/interrupted_training.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { requests, tinyTraining } from "../helpers/training_runs.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import type { VirtualMethod } from "../../src/lora/virtual_tokens/config.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { withArithmetic } from "../helpers/arithmetic.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import {
  assertGradientsOfDifferences,
  batchOf,
  rowsOf,
  STEP_MODELS,
  type StepHow,
  type StepModelName,
} from "../helpers/training_step.ts";
import { tinyTokens, virtualAdapter } from "../helpers/virtual_tokens.ts";

/** Rows that begin with virtual tokens, which have the ids after a vocabulary of 512. */
const virtualRows = (count: number) =>
  rowsOf([9, 7]).map(({ ids, ...row }) => ({
    ...row,
    ids: [...Array.from({ length: count }, (_, i) => 512 + i), ...ids.slice(count)],
    prompt: count + 2,
  }));

const CASES: readonly (readonly [StepModelName, VirtualMethod, number])[] = [
  ["tiny-llama-genai-int4", "prompt_tuning", 0],
  ["tiny-llama-torch-fp32", "prompt_tuning", 2],
  ["tiny-bert-dynamic-int8", "prompt_tuning", 0],
  ["tiny-llama-genai-int4", "prefix_tuning", 2],
  ["tiny-llama-torch-fp32", "prefix_tuning", 0],
];

for (const [name, method, rank] of CASES) {
  const title = `${method}${rank > 0 ? " beside LoRA" : ""}`;
  Deno.test(`injectVirtualTokens() into ${name} has the gradients of differences: ${title}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const objective = STEP_MODELS[name];
    const base = readModel(modelDir(name));
    const { model, trainable } = applyAdapter(
      base,
      virtualAdapter(base, tinyTokens(method), { rank }),
    );
    const made = { model, trainable: new Set(trainable.keys()), objective };
    const how: StepHow = {};
    using step = new PlannedModel(withArithmetic({ runner, ...made, ...how }, runner));
    await assertGradientsOfDifferences(step, batchOf(virtualRows(3), 9, objective));
  });
}

const tiny = (folder: string, more: Partial<FineTuneInput>): FineTuneInput =>
  tinyTraining(folder, 4, {
    ...{ iters: 2, learningRate: 1e-2, lrSchedule: "constant", saveEvery: 1 },
    ...{ stepsPerEval: 1, loadBest: false },
    ...more,
  });

for (
  const adapterType of [["prompt_tuning"], ["lora", "prefix_tuning"]] as const
) {
  const title = adapterType.join(" and ");
  Deno.test(`fineTune() of ${title}, interrupted and resumed, ends as a straight run, and evaluate() as its validation`, () =>
    inTempDir((straight) =>
      inTempDir(async (folder) => {
        const more = { adapterType, numVirtualTokens: 4, rank: 2 };
        const losses: number[] = [];
        const onEvent = (event: FineTuneEvent) => {
          if (event.kind === "evaluated") losses.push(event.report.loss);
        };
        await fineTune(tiny(straight, more), { onEvent });
        await trainTo(1, tiny(folder, more));
        await fineTune(resumedConfig(join(folder, "adapter")));
        assertEquals(await digestIn(folder), await digestIn(straight));
        assert(losses.at(-1)! < losses[0], `${losses}`);
        const { loss } = await evaluate({
          model: modelDir("tiny-llama-genai-int4"),
          adapterPath: join(straight, "adapter"),
          data: join(straight, "valid.jsonl"),
          threads: 1,
        });
        assertAlmostEquals(loss, losses.at(-1)!, 0.02);
      })
    ));
}

for (const method of ["prompt_tuning", "prefix_tuning"] as const) {
  Deno.test(`InferenceModel generates with ${method} what the whole graph finds likeliest`, () =>
    inTempDir(async (folder) => {
      const path = modelDir("tiny-llama-genai-fp32");
      const base = readModel(path);
      const adapter = virtualAdapter(base, tinyTokens(method), { rank: 2 });
      saveAdapter(folder, adapter);
      using runner = createOrtRunner({ threads: 1 });
      const { model } = applyAdapter(base, adapter);
      const prompt = [11, 40, 23, 7, 99];
      const ids = [512, 513, 514, ...prompt];
      for (let i = 0; i < 5; i++) {
        const feeds = new Map([
          ["input_ids", int64([1, ids.length], ids)],
          ["attention_mask", int64([1, ids.length], ids.map(() => 1))],
        ]);
        const logits = (await runOutput(runner, model, feeds)).slice(-512);
        ids.push(logits.indexOf(Math.max(...logits)));
      }
      using answering = await InferenceModel.open({ model: path, adapterPath: folder, threads: 1 });
      const options = { maxTokens: 5, temperature: 0 };
      const generated = await answering.complete(prompt, options);
      assertEquals(generated.ids, ids.slice(-5));
      assertEquals(generated.promptTokens, 8);
      using bare = await InferenceModel.open({ model: path, threads: 1 });
      assert(String((await bare.complete(prompt, options)).ids) !== String(generated.ids));
    }));
}

Deno.test("fineTune() of prompt tuning trains an encoder with its classes, which are saved and read", () =>
  inTempDir(async (folder) => {
    Deno.writeTextFileSync(join(folder, "train.csv"), requests(6));
    const adapterPath = join(folder, "adapter");
    await fineTune({
      ...{ model: modelDir("tiny-bert-torch-fp32"), data: folder, adapterPath },
      ...{ adapterType: ["prompt_tuning"], numVirtualTokens: 2, modulesToSave: ["classifier"] },
      ...{ iters: 1, batchSize: 3, threads: 1 },
    });
    const { adapter } = loadAdapter(adapterPath);
    assertEquals(adapter.promptEmbeddings?.dims, [2, 64]);
    assertEquals([...adapter.saved.keys()], ["classifier"]);
  }));

for (
  const [name, method, rank] of [
    ["tiny-llama-torch-fp32", "prompt_tuning", 0],
    ["tiny-llama-torch-fp32", "prefix_tuning", 2],
    ["tiny-bert-dynamic-int8", "prompt_tuning", 0],
  ] as const
) {
  const title = `${method} of ${name}${rank > 0 ? ", and folds LoRA" : ""}`;
  Deno.test(`merge() writes a graph that takes and gives what its base does: ${title}`, () =>
    inTempDir(async (folder) => {
      const path = modelDir(name);
      const base = readModel(path);
      const adapter = virtualAdapter(base, tinyTokens(method), { rank });
      const adapterPath = join(folder, "adapter");
      const savePath = join(folder, "merged");
      saveAdapter(adapterPath, adapter);
      const { beside } = await merge({
        model: path,
        adapterPath: [adapterPath],
        savePath,
        threads: 1,
      });
      assertEquals(beside, [method]);
      using runner = createOrtRunner({ threads: 1 });
      using written = loadOnnx(join(savePath, "model.onnx"), openMapped);
      assertEquals(written.model.graph.inputs, base.graph.inputs);
      assertEquals(written.model.graph.outputs, base.graph.outputs);
      // Two rows, the second one with padding.
      const rows = [[11, 40, 23, 7, 99], [8, 3, 12, 0, 0]];
      const mask = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0];
      const feeds = (before: readonly number[]) => {
        const length = before.length + 5;
        const ids = rows.flatMap((row) => [...before, ...row]);
        const masks = [mask.slice(0, 5), mask.slice(5)]
          .flatMap((row) => [...before.map(() => 1), ...row]);
        return new Map([
          ["input_ids", int64([2, length], ids)],
          ["attention_mask", int64([2, length], masks)],
        ]);
      };
      const found = await runOutput(runner, written.model, feeds([]));
      const all = await runOutput(
        runner,
        applyAdapter(base, adapter).model,
        feeds([512, 513, 514]),
      );
      const perToken = base.graph.outputs[0].type!.shape!.length === 3;
      const expected = perToken
        ? Float32Array.from(
          [0, 1].flatMap((r) => Array.from(all.subarray((8 * r + 3) * 512, 8 * (r + 1) * 512))),
        )
        : all;
      assertEquals(found.length, expected.length);
      const { absolute } = difference(found, expected);
      assert(absolute <= 1e-4, `they differ by ${absolute}`);
      const bare = await runOutput(runner, base, feeds([]));
      assert(difference(bare, expected).absolute > 0.01);
    }));
}

Deno.test("merge() measures prefix tuning beside LoRA, on texts as the base takes them", () =>
  inTempDir(async (folder) => {
    const model = modelDir("tiny-llama-torch-fp32");
    const adapterType = ["lora", "prefix_tuning"] as const;
    await fineTune(tiny(folder, { model, adapterType, rank: 2, numVirtualTokens: 3 }));
    const adapterPath = join(folder, "adapter");
    const savePath = join(folder, "merged");
    const { measured, chosen } = await merge({
      model,
      adapterPath: [adapterPath],
      savePath,
      threads: 1,
    });
    const evaluated = async (model: string, adapterPath?: string) =>
      (await evaluate({ model, adapterPath, data: join(folder, "valid.jsonl"), threads: 1 })).loss;
    assertAlmostEquals(measured.base!.loss, await evaluated(model), 1e-3);
    assertAlmostEquals(measured.adapter!.loss, await evaluated(model, adapterPath), 1e-3);
    assertAlmostEquals(chosen.evaluated!.loss, await evaluated(savePath), 1e-3);
    assertAlmostEquals(chosen.evaluated!.loss, measured.adapter!.loss, 1e-3);
  }));

Deno.test("virtual tokens are refused where they cannot be, with the reason", () =>
  inTempDir(async (folder) => {
    const model = modelDir("tiny-llama-genai-fp32");
    const adapter = virtualAdapter(readModel(model), tinyTokens("prompt_tuning"));
    const adapterPath = join(folder, "prompt");
    saveAdapter(adapterPath, adapter);
    const savePath = join(folder, "out");
    await assertRejects(
      () => merge({ model, adapterPath: [adapterPath], savePath, threads: 1 }),
      UsageError,
      "the graph has an input past_key_values.0.key: only a whole text can begin with them",
    );
    await assertRejects(
      () => exportAdapters({ model, adapterPath: [adapterPath], savePath }),
      BadInputError,
      "has virtual tokens",
    );
    using served = await InferenceModel.open({ model, threads: 1 });
    const { isMergeable, unboundBecause } = await served.loadAdapter(adapterPath);
    assert(!isMergeable && unboundBecause!.includes("stand before every text"), unboundBecause);
    await assertRejects(
      () => composeAdapters({ adapterPath: [adapterPath, adapterPath], savePath }),
      BadInputError,
      "virtual tokens (prompt_tuning), which cannot be combined",
    );
    const encoder = { model: modelDir("tiny-bert-torch-fp32"), threads: 1 };
    Deno.writeTextFileSync(join(folder, "train.csv"), requests(6));
    await assertRejects(
      () => fineTune({ ...encoder, data: folder, adapterType: ["prefix_tuning"] }),
      UsageError,
      "needs a language model",
    );
    const short = {
      adapterType: ["prompt_tuning"],
      numVirtualTokens: 20,
      maxSeqLength: 20,
    } as const;
    await assertRejects(
      () => fineTune({ ...tiny(folder, short), data: join(folder, "train.jsonl") }),
      BadInputError,
      "20 virtual tokens leave no room for a text of at most 20 tokens",
    );
    const wide = {
      ...adapter.config,
      virtualTokens: { ...tinyTokens("prompt_tuning"), tokenDim: 32 },
    };
    saveAdapter(adapterPath, { ...adapter, config: wide });
    const { adapter: changed } = loadAdapter(adapterPath);
    assertThrows(
      () => applyAdapter(readModel(model), changed),
      BadInputError,
      "prompt_embeddings must be float32[3,32]: current value is float32[3,64]",
    );
  }));
