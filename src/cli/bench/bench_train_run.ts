/** One configuration of `graft bench train`: a training set up as `graft train` does, and timed. */
import { OperatorClock } from "../../bench/operator_times.ts";
import { syntheticBatches } from "../../bench/synthetic_batches.ts";
import { timedRunner } from "../../bench/timed_runner.ts";
import {
  type Phase,
  PhaseClock,
  phaseOf,
  PHASES,
  type StepTimes,
  timeSteps,
} from "../../bench/train_steps.ts";
import { shareBatch } from "../../data/share_batch.ts";
import type { LoadedData } from "../../finetune/data_and_adapter.ts";
import { type FineTuneConfig, resolveConfig } from "../../finetune/mod.ts";
import { prepareTraining } from "../../finetune/prepare_training.ts";
import { elementCount } from "../../graph/tensor.ts";
import type { Model } from "../../graph/types.ts";
import { classCount, modelKind } from "../../model/model_kind.ts";
import { emptyRecord } from "../../records.ts";
import { processMemory } from "../../system/memory.ts";
import { machine } from "./bench_flags.ts";
import type { BenchTrainFlags } from "./bench_train_flags.ts";
import type { Terminal } from "../terminal/output.ts";
import { openRunner } from "../runtime_flags.ts";
import { trainingNotes } from "../train/training_notes.ts";

/** What a sweep varies. */
export interface Configuration {
  readonly batchSize: number;
  readonly length: number;
  /** Layers adapted, -1 for all. */
  readonly numLayers: number;
  readonly rank: number;
}

/** Figures of a configuration, under the names that `--json` prints. */
export type TrainingFigures =
  & {
    readonly batch: number;
    readonly length: number;
    readonly num_layers: number;
    readonly rank: number;
    readonly target_modules: readonly string[];
    /** The setting in use, which is exact where fast failed its check. */
    readonly numeric: "exact" | "fast";
    readonly trainable_parameters: number;
    readonly steps: number;
    /** Real tokens of all timed steps. */
    readonly tokens: number;
    /** Tokens whose prediction counts, or rows with a class. */
    readonly targets: number;
    readonly tokens_per_s: number;
    readonly step_ms: number;
    readonly peak_rss_mb: number;
    readonly loss: number;
    /** With `--profile`: mean milliseconds a step by operator, then by phase. */
    readonly operators_ms?: OperatorTimes;
  }
  & Readonly<Record<`${Phase}_ms`, number>>;

/** Rows of the embedding where the graph does not tell: ids below it are in every vocabulary. */
const FEWEST_TOKENS = 256;
/** Classes of a made-up classification with a new head. */
const CLASSES = 8;

/**
 * Measures a configuration in this process, whose peak memory it reports.
 *
 * @throws {BadInputError | UsageError | RefusedError} as `graft train` does
 */
export async function benchTraining(
  flags: BenchTrainFlags,
  configuration: Configuration,
  terminal: Terminal,
): Promise<{ readonly machine: ReturnType<typeof machine>; readonly figures: TrainingFigures }> {
  const clock = new PhaseClock();
  using profiles = flags.profile ? new OperatorClock() : undefined;
  const opened = openRunner(flags);
  using runner = timedRunner(profiles?.wrap(opened) ?? opened, clock.onRun);
  const config = trainConfig(flags, configuration);
  using setup = await prepareTraining(config, {
    own: {
      runner,
      ...(flags.data === undefined
        ? { loadData: (model: Model) => syntheticData(model, configuration, flags.targetShare) }
        : {}),
    },
    onEvent: trainingNotes(config, terminal),
  });
  const times = await timeSteps(setup, clock, flags.steps);
  const first = await setup.data.batch(0, 0);
  const isCausal = first.labels !== undefined;
  const shards = setup.memory?.shards ?? 1;
  const isOne = isCausal && configuration.batchSize === 1;
  const beside = isOne ? shards : shareBatch(first, shards, isCausal).length;
  const { batchSize, length, numLayers, rank } = configuration;
  return {
    machine: machine(runner),
    figures: {
      batch: batchSize,
      length,
      num_layers: numLayers,
      rank,
      target_modules: flags.targetModules,
      numeric: setup.numeric?.setting ?? flags.numeric,
      trainable_parameters: setup.model.parameters.reduce(
        (sum, { dims }) => sum + elementCount(dims),
        0,
      ),
      steps: times.steps,
      tokens: times.tokens,
      targets: times.targets,
      tokens_per_s: times.tokensPerSecond,
      step_ms: times.stepMs,
      peak_rss_mb: processMemory().peakRssBytes / 2 ** 20,
      loss: times.loss,
      ...(profiles === undefined ? {} : { operators_ms: operatorTimes(profiles, times, beside) }),
      ...Object.fromEntries(PHASES.map((phase) => [`${phase}_ms`, times.phases[phase]])) as Record<
        `${Phase}_ms`,
        number
      >,
    },
  };
}

type OperatorTimes = Readonly<Record<string, Partial<Record<Phase, number>>>>;

/** @param beside parts of a batch, whose operators run at the same time */
function operatorTimes(
  profiles: OperatorClock,
  { began, steps }: StepTimes,
  beside: number,
): OperatorTimes {
  const found = emptyRecord<Partial<Record<Phase, number>>>();
  for (const [label, operators] of profiles.take(began)) {
    const phase = phaseOf(label);
    const count = phase === "optimizer" ? steps : steps * beside;
    for (const [operator, milliseconds] of operators) {
      const own = found[operator] ??= {};
      own[phase] = (own[phase] ?? 0) + milliseconds / count;
    }
  }
  return found;
}

/** The configuration of the training that is measured. */
function trainConfig(flags: BenchTrainFlags, configuration: Configuration): FineTuneConfig {
  const { batchSize, length, numLayers, rank } = configuration;
  return resolveConfig({
    model: flags.model,
    data: flags.data ?? "made-up tokens",
    batchSize,
    maxSeqLength: length,
    numLayers,
    rank,
    targetModules: flags.targetModules,
    loraDropout: flags.loraDropout,
    numeric: flags.numeric,
    gradCheckpoint: flags.gradCheckpoint,
    memoryBudget: flags.memoryBudget,
    ortLib: flags.ortLib,
    threads: flags.threads,
  });
}

/** Made-up tokens for what the model does: going on with texts, or telling classes apart. */
function syntheticData(
  { graph }: Model,
  { batchSize, length }: Configuration,
  targetShare: number,
): LoadedData {
  const causal = modelKind(graph) === "causal";
  const classes = causal ? undefined : classCount(graph) ?? CLASSES;
  return {
    data: {
      task: causal ? "causal" : "classification",
      labels: classes === undefined
        ? undefined
        : Array.from({ length: classes }, (_, i) => `class ${i}`),
      train: syntheticBatches({
        batch: batchSize,
        length,
        classes,
        vocabulary: causal ? classCount(graph) ?? FEWEST_TOKENS : FEWEST_TOKENS,
        targetShare,
      }),
      identity: {},
      [Symbol.dispose]() {},
    },
    tokenizerDigest: "",
  };
}
