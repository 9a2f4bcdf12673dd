import { assert, assertEquals } from "@std/assert";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import type { Adapter } from "../../src/lora/adapter_files.ts";
import type { AdapterCard } from "../../src/lora/adapter_card.ts";
import { DEFAULT_LORA, type LoraConfig } from "../../src/lora/config.ts";
import { modelDigest } from "../../src/lora/digest.ts";
import { initLinear, type RandomSource } from "../../src/lora/init.ts";
import { findModules } from "../../src/lora/modules.ts";
import { resolveTargets, targetNames } from "../../src/lora/targets.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { askPython } from "../helpers/run_python.ts";

interface Case {
  readonly onnx: string;
  readonly checkpoint: string;
  readonly config: Partial<LoraConfig>;
}

const CASES: readonly Case[] = [
  {
    onnx: "tiny-llama-genai-fp32",
    checkpoint: "tiny-llama-hf",
    config: { targetModules: ["q", "v"] },
  },
  {
    onnx: "tiny-llama-torch-fp32",
    checkpoint: "tiny-llama-hf",
    config: { targetModules: ["all-linear"] },
  },
  {
    onnx: "tiny-llama-genai-fp32",
    checkpoint: "tiny-llama-hf",
    config: {
      targetModules: ["attention", "mlp"],
      useRslora: true,
      rankPattern: { k_proj: 2, "layers.1.mlp.up_proj": 3 },
      alphaPattern: { "self_attn.v_proj": 5 },
    },
  },
  {
    onnx: "tiny-llama-genai-fp32",
    checkpoint: "tiny-llama-hf",
    config: { targetModules: ["k", "lm_head"], numLayers: 1 },
  },
  {
    onnx: "tiny-bert-torch-fp32",
    checkpoint: "tiny-bert-hf",
    config: { targetModules: ["query", "attention.output.dense"], modulesToSave: ["classifier"] },
  },
  {
    onnx: "tiny-bert-torch-fp32",
    checkpoint: "tiny-bert-hf",
    config: { targetModules: ["query", "value"] },
  },
];

/** An adapter whose every matrix is far from zero, as training would leave it. */
function trained(base: Model, overrides: Partial<LoraConfig>): Adapter & { card: AdapterCard } {
  const random = Random.fromSeed(11);
  const config = { ...DEFAULT_LORA, rank: 4, alpha: 8, ...overrides };
  const modules = findModules(base);
  const sites = resolveTargets(modules, config);
  const saved = modules.filter(({ path }) => config.modulesToSave.includes(path));
  return {
    lora: new Map(sites.map(({ module: { path, inFeatures, outFeatures }, rank }) => [path, {
      a: noise([rank, inFeatures], random),
      b: noise([outFeatures, rank], random),
    }])),
    saved: new Map(
      saved.map((
        { path, outFeatures, inFeatures },
      ) => [path, initLinear(outFeatures, inFeatures, random)]),
    ),
    config: {
      adapterType: "lora",
      ...config,
      targetModules: targetNames(sites.map(({ module }) => module.path), modules),
      taskType: saved.length > 0 ? "SEQ_CLS" : undefined,
      gaussian: false,
    },
    card: { baseDigest: modelDigest(base), task: "causal", config: {} },
  };
}

function noise(dims: readonly number[], random: RandomSource) {
  const count = dims.reduce((a, b) => a * b, 1);
  return float32(dims, Float32Array.from({ length: count }, () => random.next() / 2 ** 32 - 0.5));
}

interface PeftResult {
  readonly logits: readonly number[];
  readonly warnings: readonly string[];
  readonly adapted: number;
}

const runPeft = (request: unknown) => askPython<readonly PeftResult[]>("peft_logits.py", request);

testWithPython(
  ["torch", "peft", "transformers"],
  "saveAdapter() writes adapters that PEFT loads with the logits of the injected graph",
  async () => {
    using runner = createOrtRunner({ threads: 1 });
    const directory = Deno.makeTempDirSync();
    try {
      const feeds = tokenFeeds(2, 7, 500);
      const ids = Array.from(toNumbers(feeds.get("input_ids")!));
      const requests = CASES.map(({ onnx, checkpoint, config }, i) => {
        const adapter = `${directory}/${i}`;
        saveAdapter(adapter, trained(readModel(modelDir(onnx)), config));
        return {
          base: modelDir(checkpoint),
          adapter,
          task: checkpoint === "tiny-bert-hf" ? "SEQ_CLS" : "CAUSAL_LM",
          classes: 5,
          input_ids: [ids.slice(0, 7), ids.slice(7)],
        };
      });
      const results = await runPeft(requests);
      for (const [i, { onnx }] of CASES.entries()) {
        const base = readModel(modelDir(onnx));
        const { adapter } = loadAdapter(requests[i].adapter);
        const found = await runOutput(runner, applyAdapter(base, adapter).model, feeds);
        const { absolute } = difference(found, results[i].logits);
        assert(absolute <= 1e-4, `case ${i}: logits differ by ${absolute}`);
        // The adapter does something, PEFT found every tensor and adapted no other module.
        const bare = await runOutput(runner, base, feeds);
        assert(difference(bare, results[i].logits).absolute > 0.01);
        assertEquals(results[i].warnings, []);
        assertEquals(results[i].adapted, adapter.lora.size);
      }
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
);
