import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { BadInputError, ParameterError, UsageError } from "../../src/errors.ts";
import { fineTune, type FineTuneInput, resumedConfig } from "../../src/finetune/mod.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { openFloatWeights } from "../../src/model/float_weights.ts";
import { analyze } from "../../src/tasks/analyze.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { digestIn, trainTo } from "../helpers/interrupted_training.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { tinyTraining } from "../helpers/training_runs.ts";

const FLOATS = modelDir("tiny-llama-hf");

/** A short training of one layer into a folder. */
const tiny = (folder: string, more: Partial<FineTuneInput>): FineTuneInput =>
  tinyTraining(folder, 2, { rank: 2, numLayers: 1, iters: 3, ...more });

/** Whether the drift of the last checkpoint is that of the saved adapter. */
async function assertLastDrift(adapterPath: string): Promise<void> {
  const model = modelDir("tiny-llama-genai-int4");
  const { adapters: [{ steps }], matrices } = await analyze({
    ...{ model, adapterPath: [adapterPath], spectra: false },
  });
  const norm = Math.hypot(...matrices.map(({ norm }) => norm));
  const change = Math.hypot(...matrices.map(({ updates: [update] }) => update!.norm));
  assertAlmostEquals(steps.at(-1)!.drift, change / norm, 1e-6 * change / norm);
}

Deno.test("fineTune() from singular vectors, with LoRA+, resumed ends as a straight run", () =>
  inTempDir((straight) =>
    inTempDir(async (folder) => {
      const how = { initLoraWeights: "pissa_niter_4", loraplusLrRatio: 4, weightDecay: 0.1 };
      await fineTune(tiny(straight, how));
      await trainTo(1, tiny(folder, how));
      const adapterPath = join(folder, "adapter");
      await assertRejects(
        () => fineTune(resumedConfig(adapterPath, { initLoraWeights: "olora" })),
        UsageError,
        "frozen_part_of_adapter was",
      );
      await fineTune(resumedConfig(adapterPath));
      assertEquals(await digestIn(folder), await digestIn(straight));
      await assertLastDrift(adapterPath);
      // It goes on as what it was saved as: a plain adapter of twice the rank.
      const further = tiny(straight, {
        resumeAdapterFile: adapterPath,
        adapterPath: join(folder, "further"),
        iters: 1,
      });
      await fineTune(further);
      const { adapter } = loadAdapter(join(folder, "further"));
      assertEquals([adapter.config.rank, adapter.config.alpha], [4, 32]);
    })
  ));

Deno.test("fineTune() with A frozen saves A as it started, and resumed ends as a straight run", () =>
  inTempDir((straight) =>
    inTempDir(async (folder) => {
      await fineTune(tiny(straight, { freezeA: true }));
      await trainTo(1, tiny(folder, { freezeA: true }));
      const halfway = loadAdapter(join(folder, "adapter")).adapter;
      await fineTune(resumedConfig(join(folder, "adapter")));
      assertEquals(await digestIn(folder), await digestIn(straight));
      await assertLastDrift(join(folder, "adapter"));
      const { adapter } = loadAdapter(join(folder, "adapter"));
      for (const [path, { a, b }] of adapter.lora) {
        assertEquals(a, halfway.lora.get(path)!.a);
        assert(b.bytes.some((byte, i) => byte !== halfway.lora.get(path)!.b.bytes[i]));
      }
    })
  ));

Deno.test("fineTune() keeps the losses before the first step as the base's only where training starts there", () =>
  inTempDir(async (folder) => {
    const hasRecord = async (more: Partial<FineTuneInput>) => {
      const adapterPath = join(folder, String(more.initLoraWeights));
      await fineTune(tiny(folder, { ...more, adapterPath, iters: 1 }));
      return [...Deno.readDirSync(adapterPath)].some(({ name }) => name === "evaluation.json");
    };
    assertEquals(await hasRecord({ initLoraWeights: "olora" }), true);
    assertEquals(await hasRecord({ initLoraWeights: "loftq", loftqModel: FLOATS }), false);
  }));

Deno.test("fineTune() for LoftQ refuses a model that is not the base before it was quantised", () =>
  inTempDir(async (folder) => {
    const rejects = (loftqModel: string, message: string) =>
      assertRejects(
        () => fineTune(tiny(folder, { initLoraWeights: "loftq", loftqModel })),
        BadInputError,
        message,
      );
    await assertRejects(
      () =>
        fineTune(tiny(folder, {
          initLoraWeights: "loftq",
          loftqModel: modelDir("tiny-llama-int4-dequantised-hf"),
        })),
      ParameterError,
      "are those of the base",
    );
    await rejects(
      modelDir("tiny-bert-hf"),
      'it has no tensor "model.layers.1.self_attn.q_proj.weight"',
    );
    await rejects(join(folder, "none"), "there is no such file or folder");
  }));

Deno.test("openFloatWeights() finds the same weights in safetensors and in an ONNX model", () => {
  using checkpoint = openFloatWeights(FLOATS);
  using onnx = openFloatWeights(modelDir("tiny-llama-genai-fp32"));
  const path = "model.layers.0.mlp.up_proj";
  const layer = { path, inFeatures: 64, outFeatures: 128 };
  const [one, other] = [checkpoint, onnx].map((weights) => weights.weightOf(layer));
  assertEquals(one.dims, [128, 64]);
  assertEquals(one, other);
  for (const weights of [checkpoint, onnx]) {
    assertThrows(
      () => weights.weightOf({ ...layer, inFeatures: 65 }),
      BadInputError,
      `the weight of "${path}" must be [128, 65]`,
    );
  }
});
