/** The configuration of a fine-tuning: PEFT's words for the adapter, mlx-lm's for the rest. */
import type { Given } from "../config/given.ts";
import type { DataConfig } from "../data/data_config.ts";
import type { Numeric } from "../plan/names.ts";
import type { RuntimeOptions } from "../runtime/open_runner.ts";
import type { ScheduleName } from "../train/learning_rate.ts";
import type { OptimizerName } from "../train/update_rules.ts";

/** Model and data. */
export interface FineTuneData extends DataConfig {
  /** A model's folder or file, the name of a pulled one, or `default`: the model graft carries. */
  readonly model: string;
  /** Folder with train, valid and test as `.jsonl` or `.csv`, one file, or `quickstart`. */
  readonly data: string;
  /** What to learn; `auto` looks at the data. */
  readonly task: "auto" | "causal" | "classification";
  /** Share of the training rows to validate on where there is no valid file, from 0 to 0.9. */
  readonly validationSplit: number;
  /** Whether rows come in another order each epoch, similar lengths together. */
  readonly shuffle: boolean;
}

/** The adapter. */
export interface FineTuneAdapter {
  /** Rank of the low-rank matrices. */
  readonly rank: number;
  /** The update counts alpha / rank times. */
  readonly loraAlpha: number;
  /** Share of the adapter's inputs dropped in training, from 0 to 0.99. */
  readonly loraDropout: number;
  /** Modules by name, pattern or shorthand: `q`, `v`, `attention`, `mlp`, `all-linear`. */
  readonly targetModules: readonly string[];
  /** Adapts the last layers only, this many; -1 for all. */
  readonly numLayers: number;
  /** Adapts these layers only, as `0-3,8`. */
  readonly layers?: string;
  /** Other ranks for some modules. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Other alphas for some modules. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Whether the scale is alpha / √rank instead. */
  readonly useRslora: boolean;
  /** Refused where it is true: graft trains and merges plain LoRA. */
  readonly useDora: boolean;
  /**
   * `lora` adds low-rank matrices to the weights; `scales` multiplies the scales of quantised weights
   * by low-rank factors, which merges exactly.
   */
  readonly adapterType: "lora" | "scales";
  /** How A starts; B starts at zero. */
  readonly initLoraWeights: "kaiming" | "gaussian";
  /** Modules to train fully beside the adapter. */
  readonly modulesToSave: readonly string[];
  /** How a new classification head reads the tokens. */
  readonly pooling: "mean" | "first";
}

/** Steps and arithmetic. */
export interface FineTuneSteps {
  /** Whether to train at all; without, `test` evaluates the adapter that is there. */
  readonly train: boolean;
  /** Rows per micro-batch. */
  readonly batchSize: number;
  /** Micro-batches per step, weighted by their target tokens. */
  readonly gradAccumulationSteps: number;
  /** Passes over the data; {@linkcode DEFAULT_EPOCHS} where `iters` is absent, too. */
  readonly epochs?: number;
  /** Steps in all, instead of `epochs`. */
  readonly iters?: number;
  /** Highest learning rate. */
  readonly learningRate: number;
  /** How the learning rate falls. */
  readonly lrSchedule: ScheduleName;
  /** Steps over which the learning rate rises from 0. */
  readonly warmupSteps: number;
  /** Step at which the learning rate arrives at its end; default: the last. */
  readonly lrDecaySteps?: number;
  /** Learning rate at the end of linear and cosine. */
  readonly lrEnd: number;
  /** Update rule. */
  readonly optimizer: OptimizerName;
  /** Decoupled weight decay; 0 for none. */
  readonly weightDecay: number;
  /** Largest norm of the gradient; 0 does not clip. */
  readonly maxGradNorm: number;
  /**
   * `exact` is float32; `fast` computes products with frozen weights in 8-bit integers, is checked on
   * the first batch, and gives way to `exact` where it computes another gradient.
   */
  readonly numeric: Numeric;
  /** `true` recomputes all activations, `false` keeps all; default: as many are kept as fit. */
  readonly gradCheckpoint?: boolean;
  /** Memory that the run may take in all, as `512M` or `2G`; default: little of nine tenths of what is free. */
  readonly memoryBudget?: string;
  /** Disk for what frozen layers below the adapter compute, while the run lasts; `0` keeps nothing. */
  readonly prefixCache: string;
  /** Seed of the adapter's start, the order of the rows and dropout. */
  readonly seed: number;
}

/** Evaluation, reports and files. */
export interface FineTuneOutput {
  /** Validation batches per evaluation; -1 for all, 0 for no evaluation. */
  readonly valBatches: number;
  /** Steps between reports. */
  readonly stepsPerReport: number;
  /** Steps between evaluations. */
  readonly stepsPerEval: number;
  /** Evaluations without improvement after which to stop; 0 never stops early. */
  readonly patience: number;
  /** Whether the run ends with the adapter of the best evaluation, not of the last step. */
  readonly loadBest: boolean;
  /** Whether to evaluate on the test data at the end. */
  readonly test: boolean;
  /** `jsonl` writes `metrics.jsonl` beside the adapter. */
  readonly reportTo: readonly string[];
  /** Folder for the adapter. */
  readonly adapterPath: string;
  /** Name under which the adapter is kept in graft's store, too, when the run ends. */
  readonly saveAs?: string;
  /** Steps between checkpoints. */
  readonly saveEvery: number;
  /** Checkpoints to keep. */
  readonly keepCheckpoints: number;
  /** Whether to go on exactly from the newest checkpoint in `adapterPath`. */
  readonly resume: boolean;
  /** Whether to drop the checkpoints of an earlier run in `adapterPath`. */
  readonly overwrite: boolean;
  /** Adapter to start from, as a new run. */
  readonly resumeAdapterFile?: string;
}

/** When a run waits. */
export interface FineTunePauses {
  /** Pauses while a temperature sensor shows more °C than this, until all are 5 below it. */
  readonly maxTemperature?: number;
  /** Pauses while a battery discharges and holds less than this per cent; 0 never does. */
  readonly minBattery: number;
  /** Trains only between these times of the day, as `01:00-05:00`. */
  readonly window?: string;
}

/** All that decides a fine-tuning; {@linkcode resolveConfig} makes one. */
export interface FineTuneConfig
  extends
    FineTuneData,
    FineTuneAdapter,
    FineTuneSteps,
    FineTuneOutput,
    FineTunePauses,
    RuntimeOptions {}

/** A configuration as a program writes it: what is absent takes its default. */
export type FineTuneInput = Given<FineTuneConfig, "model" | "data">;
