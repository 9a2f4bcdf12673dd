/** The configuration of a fine-tuning run: PEFT's names for the adapter, mlx-lm's for the rest. */
import type { Given } from "../config/given.ts";
import type { DataConfig } from "../data/data_config.ts";
import type { NonLinearity } from "../lora/bottleneck/config.ts";
import type { Method } from "../lora/peft_type.ts";
import type { Numeric } from "../plan/names.ts";
import type { RuntimeOptions } from "../runtime/open_runner.ts";
import type { ScheduleName } from "../train/learning_rate.ts";
import type { TrainedBiases } from "../lora/vectors/methods.ts";
import type { OptimizerName } from "../train/update_rules.ts";

/** Model and data. */
export interface FineTuneData extends DataConfig {
  /** A model's folder or file, the name of a pulled model, or `default`: the model that graft carries. */
  readonly model: string;
  /** Folder with train, valid and test as `.jsonl` or `.csv`, one file, or `quickstart`. */
  readonly data: string;
  /** What to learn; `auto` decides by the data. */
  readonly task: "auto" | "causal" | "classification";
  /** Share of the training rows to validate on if there is no valid file, from 0 to 0.9. */
  readonly validationSplit: number;
  /** Whether rows come in a different order each epoch, similar lengths together. */
  readonly shuffle: boolean;
}

/** The adapter. */
export interface FineTuneAdapter {
  /** Rank of the low-rank matrices. */
  readonly rank: number;
  /** Numerator of the scale, alpha / rank, by which the update is multiplied. */
  readonly loraAlpha: number;
  /** Share of the adapter's inputs dropped in training, from 0 to 0.99. */
  readonly loraDropout: number;
  /** Modules by name, pattern or shorthand: `q`, `v`, `attention`, `mlp`, `all-linear`. */
  readonly targetModules: readonly string[];
  /** Number of layers to adapt, counted from the last; -1 for all. */
  readonly numLayers: number;
  /** The only layers to adapt, such as `0-3,8`. */
  readonly layers?: string;
  /** Other ranks for some modules. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Other alphas for some modules. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Whether the scale is alpha / √rank instead. */
  readonly useRslora: boolean;
  /** Whether the magnitudes of the weights' rows are trained beside A and B: DoRA. */
  readonly useDora: boolean;
  /**
   * What is trained, one method or several together. `lora` adds low-rank matrices to the weights;
   * `scales` multiplies the scales of quantised weights by low-rank factors, which merges exactly;
   * `houlsby` and `pfeiffer` add bottleneck adapters behind layers, `prompt_tuning` and `prefix_tuning` virtual tokens in front of every text: these
   * cannot be folded into weights.
   */
  readonly adapterType: readonly Method[];
  /** Width of a layer's output over that of the bottleneck adapter behind it. */
  readonly reductionFactor: number;
  /** Function of the bottleneck; `auto`: swish for houlsby, relu for pfeiffer. */
  readonly nonLinearity: "auto" | NonLinearity;
  /** Virtual tokens of prompt and prefix tuning. */
  readonly numVirtualTokens: number;
  /**
   * How A and B start: `kaiming`, `gaussian` or `orthogonal` at random, `pissa`, `pissa_niter_N` or `olora`
   * from the weight, `loftq` from what quantisation took from it.
   */
  readonly initLoraWeights: string;
  /** The model in floats for `loftq`: an ONNX model, or a folder or file of safetensors. */
  readonly loftqModel?: string;
  /** Whether A keeps its initial values and only B is trained. */
  readonly freezeA: boolean;
  /** Which biases are trained beside LoRA: none, all, or those of its layers. */
  readonly bias: TrainedBiases;
  /** Modules to train fully besides the adapter. */
  readonly modulesToSave: readonly string[];
  /** How a new classification head reads the tokens. */
  readonly pooling: "mean" | "first";
}

/** Steps and arithmetic. */
export interface FineTuneSteps {
  /** Whether to train at all; if not, `test` evaluates the existing adapter. */
  readonly train: boolean;
  /** Rows per micro-batch. */
  readonly batchSize: number;
  /** Micro-batches per step, weighted by their target tokens. */
  readonly gradAccumulationSteps: number;
  /** Passes over the data; {@linkcode DEFAULT_EPOCHS} if `iters` is absent too. */
  readonly epochs?: number;
  /** Steps in all, instead of `epochs`. */
  readonly iters?: number;
  /** Highest learning rate. */
  readonly learningRate: number;
  /** How the learning rate falls. */
  readonly lrSchedule: ScheduleName;
  /** Steps over which the learning rate rises from 0. */
  readonly warmupSteps: number;
  /** Step at which the learning rate reaches its end; default: the last. */
  readonly lrDecaySteps?: number;
  /** Final learning rate of linear and cosine. */
  readonly lrEnd: number;
  /** LoRA+: the learning rate of B, relative to that of A; default: all tensors have the same. */
  readonly loraplusLrRatio?: number;
  /** Update rule; `lorafa` freezes A and corrects the gradient of B for it. */
  readonly optimizer: OptimizerName;
  /** Decoupled weight decay; 0 for none. */
  readonly weightDecay: number;
  /** Largest norm of the gradient; 0 does not clip. */
  readonly maxGradNorm: number;
  /**
   * `exact` is float32; `fast` computes products with frozen weights in 8-bit integers, is checked on the
   * first batch, and gives way to `exact` if its gradient differs.
   */
  readonly numeric: Numeric;
  /** `true` recomputes all activations, `false` keeps all; default: as many are kept as fit. */
  readonly gradCheckpoint?: boolean;
  /**
   * Memory that the run may take in all, such as `512M` or `2G`; default: nine tenths of what is free, of
   * which a run usually takes little.
   */
  readonly memoryBudget?: string;
  /** Disk space for what frozen layers below the adapter compute, while the run lasts; `0` keeps nothing. */
  readonly prefixCache: string;
  /** Seed for the adapter's initial values, the order of the rows and dropout. */
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
  /** Name under which the adapter is also kept in graft's store when the run ends. */
  readonly saveAs?: string;
  /** Steps between checkpoints. */
  readonly saveEvery: number;
  /** Checkpoints to keep. */
  readonly keepCheckpoints: number;
  /** Whether to resume exactly from the newest checkpoint in `adapterPath`. */
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
  /** Pauses while a battery discharges and holds less than this percentage; 0 never does. */
  readonly minBattery: number;
  /** Trains only between these times of the day, such as `01:00-05:00`. */
  readonly window?: string;
}

/** Several boards that train together, started by an MPI launcher. */
export interface FineTuneRanks {
  /** Ranks among which the model's layers are divided, one after another; 1: each rank computes all. */
  readonly pipeline: number;
  /** Seconds after which a rank that does not answer counts as lost. */
  readonly collectiveTimeout: number;
}

/** Everything that decides a fine-tuning run; {@linkcode resolveConfig} makes one. */
export interface FineTuneConfig
  extends
    FineTuneData,
    FineTuneAdapter,
    FineTuneSteps,
    FineTuneOutput,
    FineTunePauses,
    FineTuneRanks,
    RuntimeOptions {}

/** A configuration as a program writes it: absent parameters take their defaults. */
export type FineTuneInput = Given<FineTuneConfig, "model" | "data">;
