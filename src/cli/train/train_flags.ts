/** Flags of `graft train`: mlx_lm.lora's names, PEFT's for the adapter. */
import { FINE_TUNE_PARAMETERS, type FineTuneConfig } from "../../finetune/mod.ts";
import { DATA_FLAGS } from "../data_flags.ts";
import { boolean, integer, list, map, number, text, type Values } from "../flags.ts";
import { MODEL_TEXT } from "../models/model_text.ts";
import { RANKS, RANKS_FLAGS } from "../ranks_flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";

const P = FINE_TUNE_PARAMETERS;

const MODEL = "Model and data";
const ADAPTER = "Adapter";
const TRAINING = "Training";
const REPORTS = "Evaluation and reports";
const SAVING = "Saving and resuming";
const PAUSING = "Pausing";

export const TRAIN_FLAGS = {
  config: text("YAML file with these flags under their snake_case names; flags here win", {
    short: "c",
    placeholder: "FILE",
    group: MODEL,
    inFile: false,
  }),
  model: text(MODEL_TEXT, { ...P.model, short: "m", placeholder: "DIR", group: MODEL }),
  data: text(
    "Folder with train.jsonl, valid.jsonl and test.jsonl (or .csv), one file, or quickstart",
    { ...P.data, placeholder: "PATH", group: MODEL },
  ),
  task: text("What to learn; auto looks at the data", { ...P.task, group: MODEL }),
  ...DATA_FLAGS,
  validationSplit: number(
    "Share of the training rows to validate on where there is no valid file",
    { ...P.validationSplit, group: MODEL },
  ),
  shuffle: boolean("Take the rows in another order each epoch, similar lengths together", {
    ...P.shuffle,
    group: MODEL,
  }),

  rank: integer("Rank of the adapter", { ...P.rank, short: "r", group: ADAPTER }),
  loraAlpha: number("Scale: the update counts alpha / rank times", {
    ...P.loraAlpha,
    group: ADAPTER,
  }),
  loraDropout: number("Share of the adapter's inputs dropped in training", {
    ...P.loraDropout,
    group: ADAPTER,
  }),
  targetModules: list("Modules by name, pattern or shorthand (q,v, attention, mlp, all-linear)", {
    ...P.targetModules,
    group: ADAPTER,
  }),
  numLayers: integer("Adapt the last layers only, this many; -1 for all", {
    ...P.numLayers,
    group: ADAPTER,
  }),
  layers: text("Adapt these layers only, e.g. 0-3,8", {
    ...P.layers,
    placeholder: "RANGES",
    group: ADAPTER,
  }),
  rankPattern: map("Other ranks for some modules", { ...P.rankPattern, group: ADAPTER }),
  alphaPattern: map("Other alphas for some modules", { ...P.alphaPattern, group: ADAPTER }),
  useRslora: boolean("Scale by alpha / √rank instead", { ...P.useRslora, group: ADAPTER }),
  useDora: boolean("Train the magnitude of each row of a weight too: DoRA (arXiv:2402.09353)", {
    ...P.useDora,
    group: ADAPTER,
  }),
  adapterType: list(
    "What to train, one method or several: lora adds low-rank matrices to the weights; scales " +
      "multiplies the scales of quantised weights by low-rank factors, which merges exactly; houlsby " +
      "and pfeiffer put bottleneck adapters behind layers; prompt_tuning and prefix_tuning put virtual " +
      "tokens before every text, with trained embeddings or keys and values",
    { ...P.adapterType, group: ADAPTER },
  ),
  reductionFactor: number(
    "Width of a layer's output over that of the bottleneck adapter behind it",
    { ...P.reductionFactor, group: ADAPTER },
  ),
  nonLinearity: text(
    "Function of the bottleneck adapters; auto is swish for houlsby and relu for pfeiffer",
    { ...P.nonLinearity, group: ADAPTER },
  ),
  numVirtualTokens: integer("Virtual tokens of prompt and prefix tuning", {
    ...P.numVirtualTokens,
    group: ADAPTER,
  }),
  initLoraWeights: text(
    "How A and B start: kaiming, gaussian or orthogonal at random; pissa, pissa_niter_N (quicker, say " +
      "N = 16) or olora from the weight; loftq from what quantisation took from --loftq-model",
    { ...P.initLoraWeights, placeholder: "NAME", group: ADAPTER },
  ),
  loftqModel: text("The model before it was quantised, as ONNX or as safetensors, for loftq", {
    ...P.loftqModel,
    placeholder: "PATH",
    group: ADAPTER,
  }),
  freezeA: boolean("Keep A as it starts and train only B, as LoRA-FA and FFA-LoRA do", {
    ...P.freezeA,
    group: ADAPTER,
  }),
  bias: text("Biases to train beside LoRA: all of the model's, or those of its layers", {
    ...P.bias,
    group: ADAPTER,
  }),
  modulesToSave: list("Modules to train fully beside the adapter", {
    ...P.modulesToSave,
    group: ADAPTER,
  }),
  pooling: text("How a new classification head reads the tokens", { ...P.pooling, group: ADAPTER }),

  train: boolean("Train at all: --no-train --test only evaluates", { ...P.train, group: TRAINING }),
  batchSize: integer("Rows per micro-batch", { ...P.batchSize, group: TRAINING }),
  gradAccumulationSteps: integer("Micro-batches per step, weighted by their target tokens", {
    ...P.gradAccumulationSteps,
    group: TRAINING,
  }),
  epochs: integer("Passes over the data; 3 where --iters is absent, too", {
    ...P.epochs,
    group: TRAINING,
  }),
  iters: integer("Steps in all, instead of --epochs", { ...P.iters, group: TRAINING }),
  learningRate: number("Highest learning rate", { ...P.learningRate, group: TRAINING }),
  lrSchedule: text("How the learning rate falls", { ...P.lrSchedule, group: TRAINING }),
  warmupSteps: integer("Steps over which the learning rate rises from 0", {
    ...P.warmupSteps,
    group: TRAINING,
  }),
  lrDecaySteps: integer("Step at which the learning rate arrives at its end; the last if absent", {
    ...P.lrDecaySteps,
    group: TRAINING,
  }),
  lrEnd: number("Learning rate at the end of linear and cosine", { ...P.lrEnd, group: TRAINING }),
  loraplusLrRatio: number(
    "LoRA+: the learning rate of B, relative to that of A; if absent, they are equal",
    { ...P.loraplusLrRatio, placeholder: "RATIO", group: TRAINING },
  ),
  optimizer: text("Optimiser; lorafa is LoRA-FA: A frozen, and B's gradient corrected for it", {
    ...P.optimizer,
    group: TRAINING,
  }),
  weightDecay: number("Weight decay", { ...P.weightDecay, group: TRAINING }),
  maxGradNorm: number("Largest norm of the gradient; 0 does not clip", {
    ...P.maxGradNorm,
    group: TRAINING,
  }),
  numeric: text(
    "Arithmetic of training: exact (float32), or fast: 8-bit integers in products with frozen weights, checked on the first batch against exact, which goes on where they differ",
    { ...P.numeric, group: TRAINING },
  ),
  gradCheckpoint: boolean(
    "Recompute all activations; --no-grad-checkpoint keeps all; if absent, as many are kept as fit in --memory-budget, or without one in four times the model's size (two times with --numeric fast) and in a quarter of the free memory",
    { ...P.gradCheckpoint, group: TRAINING },
  ),
  memoryBudget: text(
    "Memory that the run may take in all, e.g. 512M or 2G: activations are kept as far as it goes, or recomputed, and fewer rows run at once, to fit; if absent, nine tenths of what is free is the most, and little of it is used",
    { ...P.memoryBudget, placeholder: "SIZE", group: TRAINING },
  ),
  prefixCache: text(
    "Disk in the adapter's folder, while the run lasts, for what frozen layers below the adapter compute, so that they run once a sequence instead of once an epoch; 0 keeps nothing, and half of the free disk is the most",
    { ...P.prefixCache, placeholder: "SIZE", group: TRAINING },
  ),
  seed: integer("Seed of the adapter's start, the order of the rows and dropout", {
    ...P.seed,
    group: TRAINING,
  }),

  valBatches: integer("Validation batches per evaluation; -1 for all, 0 for no evaluation", {
    ...P.valBatches,
    group: REPORTS,
  }),
  stepsPerReport: integer("Steps between reports", { ...P.stepsPerReport, group: REPORTS }),
  stepsPerEval: integer("Steps between evaluations", { ...P.stepsPerEval, group: REPORTS }),
  patience: integer("Evaluations without improvement after which to stop; 0 never stops early", {
    ...P.patience,
    group: REPORTS,
  }),
  loadBest: boolean("End with the adapter of the best evaluation, not of the last step", {
    ...P.loadBest,
    group: REPORTS,
  }),
  test: boolean("Evaluate on the test data at the end", { ...P.test, group: REPORTS }),
  reportTo: list("Where reports go besides the terminal", { ...P.reportTo, group: REPORTS }),

  adapterPath: text("Folder for the adapter", {
    ...P.adapterPath,
    placeholder: "DIR",
    group: SAVING,
  }),
  saveAs: text("Keep the adapter in graft's store, too, under this name, when the run ends", {
    ...P.saveAs,
    placeholder: "NAME",
    group: SAVING,
  }),
  saveEvery: integer("Steps between checkpoints", { ...P.saveEvery, group: SAVING }),
  keepCheckpoints: integer("Checkpoints to keep", { ...P.keepCheckpoints, group: SAVING }),
  resume: boolean(
    "Go on exactly from the newest checkpoint in --adapter-path, without --config with the settings of its run",
    { ...P.resume, group: SAVING },
  ),
  overwrite: boolean("Drop the checkpoints of an earlier run in --adapter-path", {
    ...P.overwrite,
    group: SAVING,
  }),
  resumeAdapterFile: text("Adapter to start from, as a new run", {
    ...P.resumeAdapterFile,
    placeholder: "PATH",
    group: SAVING,
  }),
  maxTemperature: number(
    "Pause while a temperature sensor shows more °C than this, until all are 5 below it",
    { ...P.maxTemperature, placeholder: "CELSIUS", group: PAUSING },
  ),
  minBattery: integer(
    "Pause while a battery discharges and holds less than this share; 0 never does",
    { ...P.minBattery, placeholder: "PERCENT", group: PAUSING },
  ),
  window: text("Train only between these times of the day, e.g. 01:00-05:00", {
    ...P.window,
    placeholder: "HH:MM-HH:MM",
    group: PAUSING,
  }),
  pipeline: integer(
    "Ranks among which the layers are divided, so that each has a part of the model only",
    { ...P.pipeline, placeholder: "N", group: RANKS },
  ),
  ...RANKS_FLAGS,
  ...RUNTIME_FLAGS,
} as const;

export type TrainFlags = Values<typeof TRAIN_FLAGS>;

/** The library's configuration that the flags say. */
export function configOf({ config: _, ...parameters }: TrainFlags): FineTuneConfig {
  return parameters;
}
