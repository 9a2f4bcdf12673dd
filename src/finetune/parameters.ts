/** The parameters of a fine-tuning run: what each accepts, and the only place that defines their defaults. */
import type { ParametersOf } from "../config/parameter.ts";
import { DATA_PARAMETERS } from "../data/data_config.ts";
import { RANKS_PARAMETERS } from "../distributed/job.ts";
import { NON_LINEARITIES } from "../lora/bottleneck/config.ts";
import { METHODS } from "../lora/peft_type.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import { SCHEDULE_NAMES } from "../train/learning_rate.ts";
import { BIASES } from "../lora/vectors/methods.ts";
import { OPTIMIZER_NAMES } from "../train/update_rules.ts";
import type { FineTuneConfig } from "./config.ts";

/** In the order of a saved configuration file. */
export const FINE_TUNE_PARAMETERS = {
  model: { kind: "text", required: true },
  data: { kind: "text", required: true },
  task: { kind: "text", choices: ["auto", "causal", "classification"], default: "auto" },
  ...DATA_PARAMETERS,
  validationSplit: { kind: "number", default: 0, min: 0, max: 0.9 },
  shuffle: { kind: "boolean", default: true },

  rank: { kind: "integer", default: 8, min: 1 },
  loraAlpha: { kind: "number", default: 16 },
  loraDropout: { kind: "number", default: 0, min: 0, max: 0.99 },
  targetModules: { kind: "list", default: ["q", "v"] },
  numLayers: { kind: "integer", default: -1, min: -1 },
  layers: { kind: "text" },
  rankPattern: { kind: "map", default: {} },
  alphaPattern: { kind: "map", default: {} },
  useRslora: { kind: "boolean", default: false },
  useDora: { kind: "boolean", default: false },
  adapterType: { kind: "list", choices: METHODS, default: ["lora"] },
  reductionFactor: { kind: "number", default: 16, min: 1 },
  nonLinearity: { kind: "text", choices: ["auto", ...NON_LINEARITIES], default: "auto" },
  numVirtualTokens: { kind: "integer", default: 20, min: 1 },
  initLoraWeights: { kind: "text", default: "kaiming" },
  loftqModel: { kind: "text" },
  freezeA: { kind: "boolean", default: false },
  bias: { kind: "text", choices: BIASES, default: "none" },
  modulesToSave: { kind: "list", default: [] },
  pooling: { kind: "text", choices: ["mean", "first"], default: "mean" },

  train: { kind: "boolean", default: true },
  batchSize: { kind: "integer", default: 4, min: 1 },
  gradAccumulationSteps: { kind: "integer", default: 1, min: 1 },
  epochs: { kind: "integer", min: 1, yieldsTo: "iters" },
  iters: { kind: "integer", min: 1, yieldsTo: "epochs" },
  learningRate: { kind: "number", default: 2e-4, min: 0 },
  lrSchedule: { kind: "text", choices: SCHEDULE_NAMES, default: "linear" },
  warmupSteps: { kind: "integer", default: 0, min: 0 },
  lrDecaySteps: { kind: "integer", min: 1 },
  lrEnd: { kind: "number", default: 0, min: 0 },
  loraplusLrRatio: { kind: "number", min: 1 },
  optimizer: { kind: "text", choices: OPTIMIZER_NAMES, default: "adamw" },
  weightDecay: { kind: "number", default: 0, min: 0 },
  maxGradNorm: { kind: "number", default: 1, min: 0 },
  numeric: { kind: "text", choices: ["exact", "fast"], default: "exact" },
  gradCheckpoint: { kind: "boolean" },
  memoryBudget: { kind: "text" },
  prefixCache: { kind: "text", default: "4G" },
  seed: { kind: "integer", default: 0, min: 0 },

  valBatches: { kind: "integer", default: 25, min: -1 },
  stepsPerReport: { kind: "integer", default: 10, min: 1 },
  stepsPerEval: { kind: "integer", default: 200, min: 1 },
  patience: { kind: "integer", default: 0, min: 0 },
  loadBest: { kind: "boolean", default: true },
  test: { kind: "boolean", default: false },
  reportTo: { kind: "list", choices: ["jsonl", "none"], default: ["jsonl"] },

  adapterPath: { kind: "text", default: "adapters" },
  saveAs: { kind: "text" },
  saveEvery: { kind: "integer", default: 100, min: 1 },
  keepCheckpoints: { kind: "integer", default: 3, min: 1 },
  resume: { kind: "boolean", default: false, inFile: false },
  overwrite: { kind: "boolean", default: false, inFile: false },
  resumeAdapterFile: { kind: "text" },
  maxTemperature: { kind: "number", min: 1, max: 125 },
  minBattery: { kind: "integer", default: 20, min: 0, max: 100 },
  window: { kind: "text" },
  pipeline: { kind: "integer", default: 1, min: 1 },
  ...RANKS_PARAMETERS,
  ...RUNTIME_PARAMETERS,
} as const satisfies ParametersOf<FineTuneConfig>;

/** Epochs if neither `epochs` nor `iters` is given. */
export const DEFAULT_EPOCHS = 3;
