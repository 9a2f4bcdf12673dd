/** Flags of `graft train`: mlx_lm.lora's names, PEFT's for the adapter. */
import { OPTIMIZER_NAMES } from "../train/update_rules.ts";
import { SCHEDULE_NAMES } from "../train/schedule.ts";
import { DATA_FLAGS } from "./data_flags.ts";
import { boolean, integer, list, map, number, text, type Values } from "./flags.ts";
import { MODEL_TEXT } from "./model_text.ts";
import { RUNTIME_FLAGS } from "./runtime_flags.ts";

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
  model: text(MODEL_TEXT, {
    required: true,
    short: "m",
    placeholder: "DIR",
    group: MODEL,
  }),
  data: text(
    "Folder with train.jsonl, valid.jsonl and test.jsonl (or .csv), one file, or quickstart",
    {
      required: true,
      placeholder: "PATH",
      group: MODEL,
    },
  ),
  task: text("What to learn; auto looks at the data", {
    choices: ["auto", "causal", "classification"],
    default: "auto",
    group: MODEL,
  }),
  ...DATA_FLAGS,
  validationSplit: number(
    "Share of the training rows to validate on where there is no valid file",
    {
      default: 0,
      min: 0,
      max: 0.9,
      group: MODEL,
    },
  ),
  shuffle: boolean("Take the rows in another order each epoch, similar lengths together", {
    default: true,
    group: MODEL,
  }),

  rank: integer("Rank of the adapter", { short: "r", default: 8, min: 1, group: ADAPTER }),
  loraAlpha: number("Scale: the update counts alpha / rank times", { default: 16, group: ADAPTER }),
  loraDropout: number("Share of the adapter's inputs dropped in training", {
    default: 0,
    min: 0,
    max: 0.99,
    group: ADAPTER,
  }),
  targetModules: list("Modules by name, pattern or shorthand (q,v, attention, mlp, all-linear)", {
    default: ["q", "v"],
    group: ADAPTER,
  }),
  numLayers: integer("Adapt the last layers only, this many; -1 for all", {
    default: -1,
    min: -1,
    group: ADAPTER,
  }),
  layers: text("Adapt these layers only, e.g. 0-3,8", { placeholder: "RANGES", group: ADAPTER }),
  rankPattern: map("Other ranks for some modules", { group: ADAPTER }),
  alphaPattern: map("Other alphas for some modules", { group: ADAPTER }),
  useRslora: boolean("Scale by alpha / √rank instead", { default: false, group: ADAPTER }),
  useDora: boolean("Refused: graft trains and merges plain LoRA, not DoRA", {
    default: false,
    group: ADAPTER,
  }),
  adapterType: text(
    "What to adapt: lora adds low-rank matrices to the weights; scales multiplies the scales of " +
      "quantised weights by low-rank factors, which merges exactly",
    { choices: ["lora", "scales"], default: "lora", group: ADAPTER },
  ),
  initLoraWeights: text("How A starts; B starts at zero", {
    choices: ["kaiming", "gaussian"],
    default: "kaiming",
    group: ADAPTER,
  }),
  modulesToSave: list("Modules to train fully beside the adapter", {
    default: [],
    group: ADAPTER,
  }),
  pooling: text("How a new classification head reads the tokens", {
    choices: ["mean", "first"],
    default: "mean",
    group: ADAPTER,
  }),

  train: boolean("Train at all: --no-train --test only evaluates", {
    default: true,
    group: TRAINING,
  }),
  batchSize: integer("Rows per micro-batch", { default: 4, min: 1, group: TRAINING }),
  gradAccumulationSteps: integer("Micro-batches per step, weighted by their target tokens", {
    default: 1,
    min: 1,
    group: TRAINING,
  }),
  epochs: integer("Passes over the data; 3 where --iters is absent, too", {
    min: 1,
    group: TRAINING,
    yieldsTo: "iters",
  }),
  iters: integer("Steps in all, instead of --epochs", {
    min: 1,
    group: TRAINING,
    yieldsTo: "epochs",
  }),
  learningRate: number("Highest learning rate", { default: 2e-4, min: 0, group: TRAINING }),
  lrSchedule: text("How the learning rate falls", {
    choices: SCHEDULE_NAMES,
    default: "linear",
    group: TRAINING,
  }),
  warmupSteps: integer("Steps over which the learning rate rises from 0", {
    default: 0,
    min: 0,
    group: TRAINING,
  }),
  lrDecaySteps: integer("Step at which the learning rate arrives at its end; the last if absent", {
    min: 1,
    group: TRAINING,
  }),
  lrEnd: number("Learning rate at the end of linear and cosine", {
    default: 0,
    min: 0,
    group: TRAINING,
  }),
  optimizer: text("Optimiser", { choices: OPTIMIZER_NAMES, default: "adamw", group: TRAINING }),
  weightDecay: number("Weight decay", { default: 0, min: 0, group: TRAINING }),
  maxGradNorm: number("Largest norm of the gradient; 0 does not clip", {
    default: 1,
    min: 0,
    group: TRAINING,
  }),
  numeric: text(
    "Arithmetic of training: exact (float32), or fast: 8-bit integers in products with frozen weights, checked on the first batch against exact, which goes on where they differ",
    { choices: ["exact", "fast"], default: "exact", group: TRAINING },
  ),
  gradCheckpoint: boolean(
    "Recompute all activations; --no-grad-checkpoint keeps all; if absent, as many are kept as fit in --memory-budget, or without one in four times the model's size (two times with --numeric fast) and in a quarter of the free memory",
    { group: TRAINING },
  ),
  memoryBudget: text(
    "Memory that the run may take in all, e.g. 512M or 2G: activations are kept as far as it goes, or recomputed, and fewer rows run at once, to fit; if absent, nine tenths of what is free is the most, and little of it is used",
    { placeholder: "SIZE", group: TRAINING },
  ),
  prefixCache: text(
    "Disk in the adapter's folder, while the run lasts, for what frozen layers below the adapter compute, so that they run once a sequence instead of once an epoch; 0 keeps nothing, and half of the free disk is the most",
    { default: "4G", placeholder: "SIZE", group: TRAINING },
  ),
  seed: integer("Seed of the adapter's start, the order of the rows and dropout", {
    default: 0,
    min: 0,
    group: TRAINING,
  }),

  valBatches: integer("Validation batches per evaluation; -1 for all, 0 for no evaluation", {
    default: 25,
    min: -1,
    group: REPORTS,
  }),
  stepsPerReport: integer("Steps between reports", { default: 10, min: 1, group: REPORTS }),
  stepsPerEval: integer("Steps between evaluations", { default: 200, min: 1, group: REPORTS }),
  patience: integer("Evaluations without improvement after which to stop; 0 never stops early", {
    default: 0,
    min: 0,
    group: REPORTS,
  }),
  loadBest: boolean("End with the adapter of the best evaluation, not of the last step", {
    default: true,
    group: REPORTS,
  }),
  test: boolean("Evaluate on the test data at the end", { default: false, group: REPORTS }),
  reportTo: list("Where reports go besides the terminal", {
    choices: ["jsonl", "none"],
    default: ["jsonl"],
    group: REPORTS,
  }),

  adapterPath: text("Folder for the adapter", {
    default: "adapters",
    placeholder: "DIR",
    group: SAVING,
  }),
  saveAs: text("Keep the adapter in graft's store, too, under this name, when the run ends", {
    placeholder: "NAME",
    group: SAVING,
  }),
  saveEvery: integer("Steps between checkpoints", { default: 100, min: 1, group: SAVING }),
  keepCheckpoints: integer("Checkpoints to keep", { default: 3, min: 1, group: SAVING }),
  resume: boolean(
    "Go on exactly from the newest checkpoint in --adapter-path, without --config with the settings of its run",
    {
      default: false,
      group: SAVING,
      inFile: false,
    },
  ),
  overwrite: boolean("Drop the checkpoints of an earlier run in --adapter-path", {
    default: false,
    group: SAVING,
    inFile: false,
  }),
  resumeAdapterFile: text("Adapter to start from, as a new run", {
    placeholder: "PATH",
    group: SAVING,
  }),
  maxTemperature: number(
    "Pause while a temperature sensor shows more °C than this, until all are 5 below it",
    { placeholder: "CELSIUS", min: 1, max: 125, group: PAUSING },
  ),
  minBattery: integer(
    "Pause while a battery discharges and holds less than this share; 0 never does",
    { default: 20, placeholder: "PERCENT", min: 0, max: 100, group: PAUSING },
  ),
  window: text("Train only between these times of the day, e.g. 01:00-05:00", {
    placeholder: "HH:MM-HH:MM",
    group: PAUSING,
  }),
  ...RUNTIME_FLAGS,
} as const;

export type TrainFlags = Values<typeof TRAIN_FLAGS>;

/** Epochs where neither `--epochs` nor `--iters` is given. */
export const DEFAULT_EPOCHS = 3;
