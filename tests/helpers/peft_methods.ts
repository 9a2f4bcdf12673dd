/**
 * Trains one adapter twice, with graft over an ONNX model and with PEFT over the checkpoint of the same
 * weights, on the same tokens from the same start, and compares what comes of it.
 */
import { join } from "@std/path";
import { IGNORED, type TokenBatch } from "../../src/data/targets.ts";
import type { FineTuneInput } from "../../src/finetune/mod.ts";
import { prepareTraining } from "../../src/finetune/prepare_training.ts";
import { resolveConfig } from "../../src/finetune/resolve_config.ts";
import { runTraining } from "../../src/finetune/run_training.ts";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { merge } from "../../src/tasks/merge.ts";
import { viewParameters } from "../../src/train/loop.ts";
import { exactKernels } from "./exact_kernels.ts";
import { modelDir, readModel } from "./fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "./logits.ts";
import { askPython } from "./run_python.ts";

/** A way to train an adapter, in graft's words and in PEFT's. */
export interface PeftMethod {
  readonly name: string;
  /** Folders of the fixtures' ONNX model, and of the checkpoint with the same weights. */
  readonly model: string;
  readonly checkpoint: string;
  /** Number of classes, for a model that classifies. */
  readonly classes?: number;
  /** What differs from {@linkcode COMMON}. */
  readonly config: Partial<FineTuneInput>;
  readonly peft: {
    /** Arguments of `LoraConfig` that differ from {@linkcode COMMON}'s. */
    readonly lora?: Readonly<Record<string, unknown>>;
    /** Whose initial values PEFT trains: graft's (the default), or its own. */
    readonly start?: "graft" | "own";
    readonly optimizer?: "adamw" | "loraplus" | "lorafa";
    /** LoRA+'s. */
    readonly ratio?: number;
    /** Names of normalisations that `LNTuningConfig` trains instead of LoRA. */
    readonly norms?: readonly string[];
    /** Whether all biases are trained and nothing else, without PEFT. */
    readonly biases?: boolean;
    /** Parts of the names of parameters that stay as they are. */
    readonly freeze?: readonly string[];
    /** Checkpoint in floats, whose distance from the base graft's start approximates. */
    readonly residual?: string;
    /** Whether PEFT saves its adapter as the plain one of the unchanged base. */
    readonly converted?: boolean;
  };
}

/** The settings of every run. */
const COMMON = {
  rank: 4,
  loraAlpha: 12,
  targetModules: ["all-linear"],
  learningRate: 5e-3,
  lrSchedule: "constant",
  maxGradNorm: 0,
  iters: 6,
  threads: 1,
  stepsPerReport: 1,
} as const satisfies Partial<FineTuneInput>;

/** What PEFT's script finds. */
interface PeftResult {
  readonly losses: readonly number[];
  readonly logits_before: readonly number[];
  readonly logits: readonly number[];
  readonly graft_logits: readonly number[];
  readonly start_difference?: number;
  readonly trained_parameters: number;
}

/** How far graft and PEFT are apart. */
export interface PeftParity {
  readonly name: string;
  /** graft's losses, before each step. */
  readonly losses: readonly number[];
  /** Largest difference of a loss from PEFT's. */
  readonly lossDifference: number;
  /** Largest difference between the logits of the two trained adapters, relative to the largest logit. */
  readonly trainedDifference: number;
  /** Largest difference between the logits of graft's adapter in PEFT and in graft, as above. */
  readonly loadedDifference: number;
  /** Largest difference between the logits of graft's adapter merged and beside the base, as above. */
  readonly mergedDifference: number;
  /** Relative distance of the initial product from what it must be. */
  readonly startDifference?: number;
  /** Numbers that are trained, by graft and by PEFT. */
  readonly trained: readonly [graft: number, peft: number];
  /** Folders with graft's adapter, and with PEFT's if it was converted. */
  readonly folders: { readonly adapter: string; readonly converted?: string };
}

const FEEDS = tokenFeeds(2, 9, 500);

/** The same rows in every step. */
function batchOf({ classes }: PeftMethod): TokenBatch {
  const ids = toNumbers(FEEDS.get("input_ids")!);
  const mask = FEEDS.get("attention_mask")!;
  return {
    inputIds: FEEDS.get("input_ids")!,
    attentionMask: mask,
    tokenTypeIds: int64(mask.dims, new Uint8Array(ids.length)),
    tokenCount: ids.length,
    ...(classes === undefined
      ? { labels: Array.from(ids, (id, i) => i % 9 < 3 ? IGNORED : id) }
      : { classIds: [1, 3] }),
  };
}

/**
 * Trains every method with graft and with PEFT.
 *
 * @param directory receives a folder for each
 */
export async function comparePeftMethods(
  methods: readonly PeftMethod[],
  directory: string,
): Promise<PeftParity[]> {
  using runner = createOrtRunner({ threads: 1 });
  const own: { readonly losses: number[]; readonly trained: number }[] = [];
  for (const method of methods) own.push(await trainHere(runner, method, folderOf(method)));
  const there = await askPython<PeftResult[]>("peft_train.py", methods.map(requestOf));
  const parities: PeftParity[] = [];
  for (const [i, method] of methods.entries()) {
    parities.push(await parityOf(runner, method, folderOf(method), own[i], there[i]));
  }
  return parities;

  function folderOf({ name }: PeftMethod): string {
    return join(directory, name.replaceAll(/\W+/g, "-"));
  }

  function requestOf(method: PeftMethod) {
    const { config, peft, checkpoint, classes } = method;
    const { inputIds, labels, classIds } = batchOf(method);
    const { rank, loraAlpha, learningRate, iters, weightDecay = 0 } = { ...COMMON, ...config };
    const rows = (values: ArrayLike<number>) =>
      [0, 9].map((at) => Array.from(values).slice(at, at + 9));
    return {
      base: modelDir(checkpoint),
      classes: classes ?? null,
      input_ids: rows(toNumbers(inputIds)),
      labels: labels === undefined ? classIds : rows(labels),
      steps: iters,
      learning_rate: learningRate,
      weight_decay: weightDecay,
      trained: join(folderOf(method), "adapter"),
      initial: join(folderOf(method), "initial"),
      peft: {
        ...peft,
        lora: { r: rank, lora_alpha: loraAlpha, target_modules: "all-linear", ...peft.lora },
        residual: peft.residual && modelDir(peft.residual),
        converted: peft.converted ? join(folderOf(method), "converted") : undefined,
      },
    };
  }
}

async function trainHere(runner: Runner, method: PeftMethod, folder: string) {
  const config = resolveConfig({
    ...COMMON,
    ...method.config,
    model: modelDir(method.model),
    data: "fixed batches",
    adapterPath: join(folder, "adapter"),
  });
  const batch = batchOf(method);
  const loadData = () => ({
    data: {
      task: method.classes === undefined ? "causal" as const : "classification" as const,
      labels: method.classes === undefined
        ? undefined
        : Array.from({ length: method.classes }, (_, i) => `class ${i}`),
      train: { batches: () => 1, batch: () => Promise.resolve(batch) },
      identity: {},
      [Symbol.dispose]: () => {},
    },
    tokenizerDigest: "none",
  });
  using parts = await prepareTraining(config, { own: { runner, loadData } });
  parts.saveAdapter(join(folder, "initial"), viewParameters(parts.model));
  const losses: number[] = [];
  await runTraining(parts, config, {
    onEvent: (event) => {
      if (event.kind === "report") losses.push(event.report.loss);
    },
  });
  const trained = parts.model.parameters.reduce(
    (sum, { dims }) => sum + dims.reduce((a, b) => a * b, 1),
    0,
  );
  return { losses, trained };
}

async function parityOf(
  runner: Runner,
  { name, model, peft }: PeftMethod,
  folder: string,
  { losses, trained }: { readonly losses: number[]; readonly trained: number },
  there: PeftResult,
): Promise<PeftParity> {
  const adapterPath = join(folder, "adapter");
  const { adapter } = loadAdapter(adapterPath);
  const base = exactKernels(readModel(modelDir(model)));
  const beside = await runOutput(runner, applyAdapter(base, adapter).model, FEEDS);
  const savePath = join(folder, "merged");
  await merge({ model: modelDir(model), adapterPath: [adapterPath], savePath, method: "float" });
  const merged = await runOutput(runner, exactKernels(readModel(savePath)), FEEDS);
  return {
    name,
    losses,
    lossDifference: Math.max(...losses.map((loss, i) => Math.abs(loss - there.losses[i]))),
    trainedDifference: difference(beside, there.logits).relative,
    loadedDifference: difference(beside, there.graft_logits).relative,
    mergedDifference: difference(merged, beside).relative,
    startDifference: there.start_difference,
    trained: [trained, there.trained_parameters],
    folders: {
      adapter: adapterPath,
      converted: peft.converted ? join(folder, "converted") : undefined,
    },
  };
}

const FLOATS = { model: "tiny-llama-genai-fp32", checkpoint: "tiny-llama-hf" };
const EXPORTED = { ...FLOATS, model: "tiny-llama-torch-fp32" };
const INT4 = { model: "tiny-llama-genai-int4", checkpoint: "tiny-llama-int4-dequantised-hf" };
const BERT = { model: "tiny-bert-torch-fp32", checkpoint: "tiny-bert-hf", classes: 5 };

/** Of a kind of module, of one layer by a regular expression, and of one module. */
const RANKS = { v_proj: 8, "layers.1.*(gate|up)_proj": 2, "model.layers.0.self_attn.q_proj": 1 };
const ALPHAS = { down_proj: 4, "layers.1.*(q|k)_proj": 24, "model.layers.0.self_attn.q_proj": 2 };

/** Every method of PEFT's that graft trains: `scripts/figures/peft_methods.ts` prints them all. */
export const PEFT_METHODS: readonly PeftMethod[] = [
  { name: "LoRA", ...FLOATS, config: {}, peft: {} },
  {
    name: "rsLoRA",
    ...FLOATS,
    config: { useRslora: true },
    peft: { lora: { use_rslora: true } },
  },
  {
    name: "ranks and alphas by layer",
    ...INT4,
    config: { rankPattern: RANKS, alphaPattern: ALPHAS },
    peft: { lora: { rank_pattern: RANKS, alpha_pattern: ALPHAS } },
  },
  {
    name: "DoRA",
    ...INT4,
    config: { useDora: true, learningRate: 3e-3, targetModules: ["v", "o", "mlp"] },
    peft: {
      lora: {
        use_dora: true,
        target_modules: ["v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
      },
    },
  },
  {
    name: "DoRA with a saved module",
    ...BERT,
    config: {
      useDora: true,
      targetModules: ["query", "attention.output.dense"],
      modulesToSave: ["classifier"],
    },
    peft: {
      lora: {
        use_dora: true,
        target_modules: ["query", "attention.output.dense"],
        modules_to_save: ["classifier"],
      },
    },
  },
  {
    name: "DoRA from PiSSA",
    ...INT4,
    config: { useDora: true, initLoraWeights: "pissa" },
    peft: { start: "own", lora: { use_dora: true, init_lora_weights: "pissa" } },
  },
  {
    name: "LoRA and its biases",
    ...BERT,
    config: { bias: "lora_only", targetModules: ["query", "value"] },
    peft: { lora: { bias: "lora_only", target_modules: ["query", "value"], task_type: null } },
  },
  {
    name: "LoRA and all biases",
    ...BERT,
    config: { bias: "all", targetModules: ["query", "value"] },
    peft: { lora: { bias: "all", target_modules: ["query", "value"], task_type: null } },
  },
  {
    name: "normalisations",
    ...INT4,
    config: { adapterType: ["ln_tuning"], learningRate: 6e-2 },
    peft: { norms: ["input_layernorm", "post_attention_layernorm", "norm"] },
  },
  {
    name: "normalisations taken apart",
    ...{ ...FLOATS, model: "tiny-llama-torch-fp32" },
    config: { adapterType: ["ln_tuning"], learningRate: 6e-2 },
    peft: { norms: ["input_layernorm", "post_attention_layernorm", "norm"] },
  },
  {
    name: "normalisations with biases",
    ...BERT,
    config: { adapterType: ["ln_tuning"], learningRate: 6e-2 },
    peft: { norms: ["LayerNorm"] },
  },
  {
    name: "BitFit",
    ...BERT,
    config: { adapterType: ["bitfit"], learningRate: 2e-2 },
    peft: { biases: true },
  },
  {
    name: "LoRA+",
    ...FLOATS,
    config: { loraplusLrRatio: 4, weightDecay: 0.1, learningRate: 2e-3 },
    peft: { optimizer: "loraplus", ratio: 4 },
  },
  {
    name: "LoRA+ with a saved module",
    ...BERT,
    config: {
      loraplusLrRatio: 4,
      weightDecay: 0.1,
      targetModules: ["query", "value"],
      modulesToSave: ["classifier"],
    },
    peft: {
      optimizer: "loraplus",
      ratio: 4,
      lora: { target_modules: ["query", "value"], modules_to_save: ["classifier"] },
    },
  },
  { name: "A frozen", ...FLOATS, config: { freezeA: true }, peft: { freeze: ["lora_A"] } },
  {
    name: "LoRA-FA",
    ...FLOATS,
    config: { optimizer: "lorafa", weightDecay: 0.1, alphaPattern: { q_proj: 6 } },
    peft: { optimizer: "lorafa", lora: { alpha_pattern: { q_proj: 6 } } },
  },
  {
    name: "PiSSA",
    ...INT4,
    config: { initLoraWeights: "pissa" },
    peft: { start: "own", lora: { init_lora_weights: "pissa" }, converted: true },
  },
  {
    name: "OLoRA",
    ...EXPORTED,
    config: { initLoraWeights: "olora", learningRate: 1e-3 },
    peft: { start: "own", lora: { init_lora_weights: "olora" }, converted: true },
  },
  { name: "orthogonal", ...INT4, config: { initLoraWeights: "orthogonal" }, peft: {} },
  {
    name: "LoftQ",
    ...INT4,
    config: { initLoraWeights: "loftq", loftqModel: modelDir("tiny-llama-hf") },
    peft: { residual: "tiny-llama-hf" },
  },
];
