/** The training loop and what a run keeps on disk: configuration, metrics, checkpoints. */
import { join } from "@std/path";
import { kebab } from "../config/parameter.ts";
import { makeDirectory } from "../system/durable_files.ts";
import { processMemory } from "../system/memory.ts";
import type { Identity } from "../train/checkpoint.ts";
import { CheckpointDirectory, type FoundCheckpoint } from "../train/checkpoint_files.ts";
import { combineCallbacks, type TrainOutcome } from "../train/events.ts";
import { stepsOf, train, type TrainSettings } from "../train/loop.ts";
import type { Peers } from "../train/peers.ts";
import { shareCheckpoint } from "../train/share_checkpoint.ts";
import type { Batch, BatchSource } from "../train/step.ts";
import { callbacksOf } from "./callbacks.ts";
import { writeChosenMemory } from "./chosen_memory.ts";
import type { FineTuneConfig } from "./config.ts";
import type { Evaluations } from "./evaluations.ts";
import type { OnEvent, RunEvent } from "./events.ts";
import { MetricsFile } from "./metrics_file.ts";
import { DEFAULT_EPOCHS } from "./parameters.ts";
import { pauseGate } from "./pause_gate.ts";
import { openPrefixCache } from "./prefix_cache.ts";
import { changedSettings, checkpointsOf, nothingToResume, saveConfig } from "./saved_config.ts";
import type { TrainingParts } from "./training_parts.ts";

/** Who watches a run, and what stops it. */
export interface LoopOptions {
  readonly evaluations: Evaluations;
  readonly onEvent: OnEvent<RunEvent>;
  readonly signal?: AbortSignal;
  /** Other processes of the run; the first of them writes. */
  readonly peers?: Peers;
}

/**
 * Trains from the first step or from the newest checkpoint, as the configuration asks.
 *
 * @throws {ParameterError} for a pause that this machine cannot measure
 * @throws {UsageError} if the checkpoint belongs to a run with other settings or data
 * @throws {StorageError} if something cannot be written
 */
export async function runLoop<B extends Batch>(
  parts: TrainingParts<B>,
  config: FineTuneConfig,
  { evaluations, onEvent, signal, peers }: LoopOptions,
): Promise<TrainOutcome> {
  const settings = settingsOf(config, parts.data);
  const gate = pauseGate(config);
  const checkpoints = (peers?.rank ?? 0) === 0 ? checkpointsFor(parts, config) : undefined;
  const found = checkpoints && findCheckpoint(checkpoints, config, onEvent);
  const resume = peers === undefined || !config.resume
    ? found?.checkpoint
    : await shareCheckpoint(peers, found?.checkpoint, identityOf(parts, config));
  const firstStep = resume?.state.step ?? 0;
  onEvent({ kind: "started", totalSteps: settings.totalSteps, firstStep });
  if (checkpoints !== undefined) writeRunFiles(parts, config);
  using metrics = checkpoints && openMetrics(parts, config, firstStep);
  // Rows go to other processes when their number changes: what one has kept would be of no use.
  using kept = peers === undefined
    ? openPrefixCache(parts.frozen, config, settings, parts.data, onEvent)
    : undefined;
  const outcome = await train({
    ...{ model: parts.model, optimizer: parts.optimizer, data: parts.data, settings },
    validation: config.valBatches === 0 ? undefined : parts.validation,
    callbacks: combineCallbacks(
      callbacksOf(onEvent),
      evaluations.callbacks,
      ...(metrics === undefined ? [] : [metrics.callbacks(peakMemory)]),
    ),
    checkpoints: checkpoints && {
      save: (checkpoint) => {
        // A resume finds what the steps before its checkpoint have read.
        kept?.sync();
        return checkpoints.save(checkpoint);
      },
    },
    ...{ resume, signal, gate, peers },
  });
  if (outcome.end !== "interrupted") kept?.remove();
  return outcome;
}

const peakMemory = () => processMemory().peakRssBytes;

/** The numbers that steer the loop. */
function settingsOf(config: FineTuneConfig, data: BatchSource): TrainSettings {
  const accumulation = config.gradAccumulationSteps;
  const totalSteps = config.iters ?? stepsOf(data, config.epochs ?? DEFAULT_EPOCHS, accumulation);
  return {
    totalSteps,
    accumulation,
    schedule: {
      name: config.lrSchedule,
      learningRate: config.learningRate,
      warmupSteps: config.warmupSteps,
      totalSteps: config.lrDecaySteps ?? totalSteps,
      endRate: config.lrEnd,
    },
    maxGradNorm: config.maxGradNorm,
    stepsPerReport: config.stepsPerReport,
    stepsPerEval: config.stepsPerEval,
    valBatches: config.valBatches,
    saveEvery: config.saveEvery,
    patience: config.patience,
    loadBest: config.loadBest,
    seed: config.seed,
  };
}

/** Parameters that decide which numbers a step computes; a resume must not change them. */
const IDENTITY_PARAMETERS = [
  "rank",
  "rankPattern",
  "batchSize",
  "gradAccumulationSteps",
  "seed",
  "maxSeqLength",
  "maskPrompt",
  "shuffle",
  "optimizer",
  "loraAlpha",
  "alphaPattern",
  "useRslora",
  "loraDropout",
  "numeric",
] as const;

function checkpointsFor(parts: TrainingParts, config: FineTuneConfig): CheckpointDirectory {
  const { adapterPath, keepCheckpoints } = config;
  const directory = checkpointsOf({ adapterPath });
  return new CheckpointDirectory(directory, identityOf(parts, config), keepCheckpoints);
}

/** Parameters are stored under the names of their flags, as in checkpoints since the first release. */
export function identityOf({ identity, model }: TrainingParts, config: FineTuneConfig): Identity {
  const parameters = model.parameters.map(({ name, dims }) => `${name}[${dims}]`).join(" ");
  const chosen = IDENTITY_PARAMETERS.map((key) => [
    `--${kebab(key)}`,
    JSON.stringify(config[key]),
  ]);
  return { ...identity, ...Object.fromEntries(chosen), parameters };
}

/** The checkpoint to resume from; with `overwrite`, what an earlier run left is removed. */
function findCheckpoint(
  checkpoints: CheckpointDirectory,
  config: FineTuneConfig,
  onEvent: OnEvent<RunEvent>,
): FoundCheckpoint | undefined {
  if (config.resume) {
    const found = checkpoints.load((text) => onEvent({ kind: "checkpoint ignored", text }));
    if (found === undefined) throw nothingToResume(config.adapterPath);
    onEvent({ kind: "resumed", path: found.path, changed: changedSettings(config) });
    return found;
  }
  if (config.overwrite) checkpoints.clear();
  return undefined;
}

/** Writes what a resume and a merge read of the run. */
function writeRunFiles({ memory }: TrainingParts, config: FineTuneConfig): void {
  makeDirectory(config.adapterPath);
  saveConfig(config);
  if (memory !== undefined) writeChosenMemory(config.adapterPath, memory);
}

function openMetrics(
  { numeric }: TrainingParts,
  config: FineTuneConfig,
  firstStep: number,
): MetricsFile | undefined {
  if (!config.reportTo.includes("jsonl")) return undefined;
  const metrics = new MetricsFile(join(config.adapterPath, "metrics.jsonl"), firstStep);
  const check = numeric?.check;
  if (check !== undefined && firstStep === 0) {
    metrics.append({
      step: 0,
      numeric: config.numeric,
      fast_cosine: check.cosine,
      fast_relative_error: check.relativeError,
    });
  }
  return metrics;
}
