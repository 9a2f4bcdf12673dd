import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { BadInputError, ParameterError } from "../../src/errors.ts";
import { fineTune, type FineTuneInput, resumedConfig } from "../../src/finetune/mod.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import type { BottleneckConfig } from "../../src/lora/bottleneck/config.ts";
import { initBottlenecks } from "../../src/lora/bottleneck/weights.ts";
import { injectBottlenecks } from "../../src/lora/bottleneck/inject.ts";
import { bottleneckSites } from "../../src/lora/bottleneck/sites.ts";
import { findModules } from "../../src/lora/modules.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { openMapped } from "../../src/system/mapped_file.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { merge } from "../../src/tasks/merge.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { withArithmetic } from "../helpers/arithmetic.ts";
import { bottleneckAdapter } from "../helpers/bottlenecks.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import type { Model } from "../../src/graph/types.ts";
import { normal, runOn } from "../helpers/directional.ts";
import { halfModel, roundedModel } from "../helpers/half_model.ts";
import { floats, withNodes } from "../helpers/lora_graphs.ts";
import { tinyModel } from "../helpers/ort.ts";
import { digestIn, trainTo } from "../helpers/interrupted_training.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { tinyTraining } from "../helpers/training_runs.ts";
import {
  assertGradientsOfDifferences,
  batchOf,
  rowsOf,
  STEP_MODELS,
  type StepHow,
  type StepModelName,
} from "../helpers/training_step.ts";

const HOULSBY: BottleneckConfig = {
  placement: "houlsby",
  reductionFactor: 8,
  nonLinearity: "swish",
};

const CASES: readonly (readonly [StepModelName, BottleneckConfig, number])[] = [
  ["tiny-llama-genai-int4", HOULSBY, 0],
  ["tiny-llama-torch-fp32", { ...HOULSBY, placement: "pfeiffer", nonLinearity: "gelu" }, 2],
  ["tiny-bert-dynamic-int8", { ...HOULSBY, nonLinearity: "gelu" }, 0],
];

for (const [name, config, rank] of CASES) {
  const title = `${config.placement}, ${config.nonLinearity}${rank > 0 ? " beside LoRA" : ""}`;
  Deno.test(`injectBottlenecks() into ${name} has the gradients of differences: ${title}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const objective = STEP_MODELS[name];
    const base = readModel(modelDir(name));
    const { model, trainable } = applyAdapter(base, bottleneckAdapter(base, config, rank));
    const made = { model, trainable: new Set(trainable.keys()), objective };
    const how: StepHow = {};
    using step = new PlannedModel(withArithmetic({ runner, ...made, ...how }, runner));
    await assertGradientsOfDifferences(step, batchOf(rowsOf([7, 5]), 7, objective));
  });
}

Deno.test("injectBottlenecks() follows every call of a layer, whose gradients are summed: ALBERT", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir("dialects/albert"));
  const { model, trainable } = applyAdapter(base, bottleneckAdapter(base, HOULSBY));
  assertEquals(trainable.size, 8);
  const made = {
    model,
    trainable: new Set(trainable.keys()),
    objective: "classification" as const,
  };
  using step = new PlannedModel({ runner, ...made });
  const rows = rowsOf([9, 5]).map((row) => ({ ...row, ids: row.ids.map((id) => id % 100) }));
  await assertGradientsOfDifferences(step, batchOf(rows, 16, "classification"));
});

Deno.test("injectBottlenecks() computes in floats beside a model in float16", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir("tiny-llama-torch-fp32"));
  const adapter = bottleneckAdapter(base, { ...HOULSBY, nonLinearity: "relu" });
  const feeds = tokenFeeds(2, 7, 500);
  const [half, full, bare] = await Promise.all([
    runOutput(runner, applyAdapter(halfModel(base), uncarded(adapter)).model, feeds),
    runOutput(runner, applyAdapter(roundedModel(base), uncarded(adapter)).model, feeds),
    runOutput(runner, roundedModel(base), feeds),
  ]);
  const { relative } = difference(half, full);
  assert(relative <= 0.01, `they differ by ${relative}`);
  assert(difference(bare, full).relative > 0.05);
});

/** An adapter that does not say which base it belongs to. */
const uncarded = ({ card: _, ...adapter }: ReturnType<typeof bottleneckAdapter>) => adapter;

Deno.test("injectBottlenecks() reads a layer's bias where the normalisation after it adds it", async () => {
  const LAYER = "/encoder/layer.0/output/dense/MatMul";
  const initializers = {
    ...{ w: floats(4, 4), b: floats(4), gamma: floats(4), beta: floats(4) },
  };
  const ports = {
    inputs: { x: ["float32", ["n", 1, 4]] },
    outputs: { y: ["float32", ["n", 1, 4]] },
  } as const;
  const epsilon = { kind: "float", value: 1e-5 } as const;
  const plain = tinyModel({
    ...ports,
    nodes: [
      ["MatMul", ["x", "w"], ["h"]],
      ["Add", ["h", "b"], ["biased"]],
      ["Add", ["biased", "x"], ["sum"]],
      ["LayerNormalization", ["sum", "gamma", "beta"], ["y"], { epsilon }],
    ],
    initializers,
  });
  const fused = tinyModel({
    ...ports,
    nodes: [
      ["MatMul", ["x", "w"], ["h"]],
      ["com.microsoft.SkipLayerNormalization", ["h", "x", "gamma", "beta", "b"], ["y"], {
        epsilon,
      }],
    ],
    initializers,
  });
  using runner = createOrtRunner({ threads: 1 });
  const run = async (model: Model, adapts: boolean) => {
    const named = withNodes(model, (_, i) => i === 0 ? { name: LAYER } : {});
    const modules = findModules(named);
    assertEquals(modules.map(({ path }) => path), ["encoder.layer.0.output.dense"]);
    const weights = new Map([["encoder.layer.0.output.dense", {
      "adapter_down.weight": normal([2, 4], 1),
      "adapter_down.bias": normal([2], 2),
      "adapter_up.weight": normal([4, 2], 3),
      "adapter_up.bias": normal([4], 4),
    }]]);
    const made = adapts ? injectBottlenecks(named, modules, weights, HOULSBY).model : named;
    using executable = await runner.compile(made, { optimization: "disabled" });
    const { y } = await runOn(runner, executable, { x: floats(3, 1, 4) });
    return toNumbers(y);
  };
  const [expected, found] = [await run(plain, true), await run(fused, true)];
  assert(difference(found, expected).absolute <= 1e-5, `${found} ${expected}`);
  assert(difference(await run(plain, false), expected).absolute > 0.01);
});

Deno.test("injectBottlenecks() starts at the base, to the bit", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir("tiny-llama-genai-fp32"));
  const modules = bottleneckSites(findModules(base), "houlsby", {}, () => true);
  assertEquals(modules.map(({ path }) => path.split(".").slice(2).join(".")), [
    ...["0.self_attn.o_proj", "0.mlp.down_proj"],
    ...["1.self_attn.o_proj", "1.mlp.down_proj"],
  ]);
  const start = initBottlenecks(modules, HOULSBY, Random.fromSeed(1));
  const { model, trainable } = injectBottlenecks(base, modules, start, HOULSBY);
  assertEquals(trainable.size, 16);
  const feeds = tokenFeeds(2, 7, 500);
  assertEquals(await runOutput(runner, model, feeds), await runOutput(runner, base, feeds));
});

Deno.test("bottleneckSites() names the parameter where there are no such layers", () => {
  const modules = findModules(readModel(modelDir("tiny-llama-genai-fp32")));
  const without = modules.filter(({ path }) => !path.endsWith("down_proj"));
  const error = assertThrows(
    () => bottleneckSites(without, "pfeiffer", {}, () => true),
    ParameterError,
    "no layer of this model has such a name",
  );
  assertEquals(error.parameter, "adapterType");
  const layers = assertThrows(
    () => bottleneckSites(modules, "pfeiffer", { layers: [9] }, () => true),
    ParameterError,
  );
  assertEquals(layers.parameter, "layers");
});

const tiny = (folder: string, more: Partial<FineTuneInput>): FineTuneInput =>
  tinyTraining(folder, 4, {
    ...{ iters: 2, learningRate: 1e-2, lrSchedule: "constant", saveEvery: 1 },
    ...more,
  });

Deno.test("fineTune() of bottleneck adapters beside LoRA, interrupted and resumed, ends as a straight run", () =>
  inTempDir((straight) =>
    inTempDir(async (folder) => {
      const more = { adapterType: ["lora", "houlsby"], rank: 2, reductionFactor: 8 } as const;
      await fineTune(tiny(straight, more));
      await trainTo(1, tiny(folder, more));
      await fineTune(resumedConfig(join(folder, "adapter")));
      assertEquals(await digestIn(folder), await digestIn(straight));
      const { adapter } = loadAdapter(join(folder, "adapter"));
      assertEquals(adapter.config.bottleneck, HOULSBY);
      assertEquals([adapter.lora.size, adapter.bottlenecks?.size], [4, 4]);
      // A folder of both methods must not load as LoRA alone.
      const { peft_type } = JSON.parse(
        Deno.readTextFileSync(join(folder, "adapter", "adapter_config.json")),
      );
      assertEquals(peft_type, "LORA+GRAFT_HOULSBY");
    })
  ));

Deno.test("resolveConfig() refuses methods that cannot be combined, naming the parameter", () =>
  inTempDir(async (folder) => {
    const refused = async (more: Partial<FineTuneInput>, message: string) =>
      (await assertRejects(() => fineTune(tiny(folder, more)), ParameterError, message)).parameter;
    assertEquals(
      await refused({ adapterType: ["lora", "scales"] }, "lora with scales"),
      "adapterType",
    );
    assertEquals(await refused({ adapterType: [] }, "must name a method"), "adapterType");
    const dropout = { adapterType: ["pfeiffer"], loraDropout: 0.1 } as const;
    assertEquals(await refused(dropout, "pfeiffer has not"), "loraDropout");
  }));

for (const rank of [0, 2]) {
  const what = rank === 0 ? "alone" : "and folds LoRA";
  Deno.test(`merge() writes bottleneck adapters beside the weights, ${what}, and says so`, () =>
    inTempDir(async (folder) => {
      const path = modelDir("tiny-llama-genai-fp32");
      const base = readModel(path);
      const adapter = bottleneckAdapter(base, HOULSBY, rank);
      const adapterPath = join(folder, "adapter");
      saveAdapter(adapterPath, adapter);
      const savePath = join(folder, "merged");
      const notes: string[] = [];
      await merge({ model: path, adapterPath: [adapterPath], savePath, threads: 1 }, {
        onEvent: (event) => {
          if (event.kind === "finding") notes.push(event.text);
        },
      });
      assert(
        notes.some((note) => note.includes("Not folded into the weights: bottleneck")),
        `${notes}`,
      );
      const certificate = JSON.parse(Deno.readTextFileSync(join(savePath, "certificate.json")));
      assertEquals(certificate.beside_the_weights, ["houlsby"]);
      assertEquals(certificate.matrices.length, rank === 0 ? 0 : 4);
      using runner = createOrtRunner({ threads: 1 });
      using written = loadOnnx(join(savePath, "model.onnx"), openMapped);
      const feeds = tokenFeeds(2, 7, 500);
      const expected = await runOutput(runner, applyAdapter(base, adapter).model, feeds);
      const { absolute } = difference(await runOutput(runner, written.model, feeds), expected);
      assert(absolute <= 1e-4, `logits differ by ${absolute}`);
      assert(difference(await runOutput(runner, base, feeds), expected).absolute > 0.01);
    }));
}

Deno.test("loadAdapter() refuses bottleneck adapters that are incomplete or do not fit, naming the part", () =>
  inTempDir((folder) => {
    const base = readModel(modelDir("tiny-llama-genai-fp32"));
    const adapter = bottleneckAdapter(base, HOULSBY);
    const [[path, parts]] = adapter.bottlenecks!;
    const saved = (changed: Partial<typeof parts>) => {
      saveAdapter(folder, { ...adapter, bottlenecks: new Map([[path, { ...parts, ...changed }]]) });
      return loadAdapter(folder).adapter;
    };
    assertEquals(toNumbers(saved({}).bottlenecks!.get(path)!["adapter_up.bias"]).length, 64);
    const up = { "adapter_up.weight": parts["adapter_down.weight"] };
    assertThrows(
      () => saved(up),
      BadInputError,
      `${path}": adapter_up.weight must be float32[64,8]`,
    );
  }));
