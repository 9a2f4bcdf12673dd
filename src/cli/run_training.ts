/** A training run from its parts: configuration saved, resumed, shown, checkpointed, adapter saved. */
import { join } from "@std/path";
import { EXIT } from "../errors.ts";
import type { Tensor } from "../graph/tensor.ts";
import { makeDirectory, replaceFile } from "../system/durable_files.ts";
import { processMemory } from "../system/memory.ts";
import type { Identity } from "../train/checkpoint.ts";
import { CheckpointDirectory, type FoundCheckpoint } from "../train/checkpoint_files.ts";
import { evaluate } from "../train/evaluate.ts";
import { combineCallbacks, type TrainOutcome } from "../train/events.ts";
import { stepsOf, train, type TrainSettings, viewParameters } from "../train/loop.ts";
import type { Optimizer } from "../train/optimizer.ts";
import type { Batch, BatchSource, StepModel } from "../train/step.ts";
import { formatConfig } from "../config/file.ts";
import { kebab } from "../config/parameter.ts";
import { shellWord } from "./format.ts";
import type { ReferenceLosses } from "../eval/evaluate.ts";
import { Evaluations } from "./evaluations.ts";
import { MetricsFile } from "./metrics_file.ts";
import { paint, type Terminal } from "./output.ts";
import { pauseGate } from "./pause_gate.ts";
import { progressCallbacks } from "./progress.ts";
import { saveAdapterAs } from "../model/store_adapter.ts";
import { StopSignal } from "./stop_signal.ts";
import { DEFAULT_EPOCHS, TRAIN_FLAGS, type TrainFlags } from "./train_flags.ts";
import { type ChosenMemory, writeChosenMemory } from "./chosen_memory.ts";
import { type FrozenLayers, openPrefixCache } from "./prefix_cache.ts";
import { changedSettings, checkpointsOf, CONFIG_FILE, nothingToResume } from "./resumed_config.ts";
import { checkFlags, checkParts } from "./train_checks.ts";
import type { NumericChoice } from "./train_numeric.ts";

/** The parts of a run, ready to go. */
export interface TrainSetup<B extends Batch = Batch> extends Disposable {
  readonly model: StepModel<B>;
  readonly optimizer: Optimizer;
  readonly data: BatchSource<B>;
  readonly validation?: BatchSource<B>;
  readonly test?: BatchSource<B>;
  /** The numeric setting in use, where it is not simply the one that the flags say. */
  readonly numeric?: NumericChoice;
  /** What is kept and computed at once, where that was chosen for this run. */
  readonly memory?: ChosenMemory;
  /** What never changes in training and can be kept, where there is such. */
  readonly frozen?: FrozenLayers;
  /** What, besides the flags below, must be equal for a resume: digests of base and data. */
  readonly identity: Identity;
  /** Writes the adapter with these parameters. */
  saveAdapter(directory: string, parameters: ReadonlyMap<string, Tensor>): void;
  /** Writes beside it what the held-out data said of it; nothing where that is not known. */
  saveEvaluation?(directory: string, found: ReferenceLosses | undefined): Promise<void>;
}

/** Flags that decide which numbers a step computes; a resume must not change them. */
const IDENTITY_FLAGS = [
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

function identityOf(setup: TrainSetup, flags: TrainFlags): Identity {
  const parameters = setup.model.parameters.map(({ name, dims }) => `${name}[${dims}]`).join(" ");
  const chosen = IDENTITY_FLAGS.map((key) => [`--${kebab(key)}`, JSON.stringify(flags[key])]);
  return { ...setup.identity, ...Object.fromEntries(chosen), parameters };
}

/** The numbers that steer the loop. */
function settingsOf(flags: TrainFlags, data: BatchSource): TrainSettings {
  const accumulation = flags.gradAccumulationSteps;
  const totalSteps = flags.iters ?? stepsOf(data, flags.epochs ?? DEFAULT_EPOCHS, accumulation);
  return {
    totalSteps,
    accumulation,
    schedule: {
      name: flags.lrSchedule,
      learningRate: flags.learningRate,
      warmupSteps: flags.warmupSteps,
      totalSteps: flags.lrDecaySteps ?? totalSteps,
      endRate: flags.lrEnd,
    },
    maxGradNorm: flags.maxGradNorm,
    stepsPerReport: flags.stepsPerReport,
    stepsPerEval: flags.stepsPerEval,
    valBatches: flags.valBatches,
    saveEvery: flags.saveEvery,
    patience: flags.patience,
    loadBest: flags.loadBest,
    seed: flags.seed,
  };
}

/** The checkpoint to go on from; with `--overwrite` what an earlier run left goes. */
function findCheckpoint(
  checkpoints: CheckpointDirectory,
  flags: TrainFlags,
  terminal: Terminal,
): FoundCheckpoint | undefined {
  if (flags.resume) {
    const found = checkpoints.load((warning) => terminal.note(paint(terminal, "yellow", warning)));
    if (found === undefined) throw nothingToResume(flags.adapterPath);
    terminal.note(`Resuming from ${found.path}`);
    const changed = changedSettings(flags);
    if (changed.length > 0) {
      terminal.note(`Going on with other settings than the run had: ${changed.join(", ")}`);
    }
    return found;
  }
  if (flags.overwrite) checkpoints.clear();
  return undefined;
}

/**
 * Runs a training to its end and saves the adapter.
 *
 * @returns the exit code
 * @throws {UsageError} for settings that contradict each other or what is on disk
 * @throws {StorageError} where something cannot be written
 */
export async function runTraining<B extends Batch>(
  setup: TrainSetup<B>,
  asked: TrainFlags,
  terminal: Terminal,
): Promise<number> {
  const flags = { ...asked, numeric: setup.numeric?.setting ?? asked.numeric };
  checkFlags(flags);
  checkParts(setup, flags);
  if (flags.train) {
    const evaluations = new Evaluations();
    const outcome = await runLoop(setup, flags, terminal, evaluations);
    setup.saveAdapter(flags.adapterPath, viewParameters(setup.model));
    await setup.saveEvaluation?.(flags.adapterPath, evaluations.around(outcome.parametersOfStep));
    if (outcome.end === "interrupted") return tellInterrupted(outcome, flags, terminal);
    if (outcome.end === "diverged") return tellDiverged(outcome, flags, terminal);
    tellFinished(outcome, flags, terminal);
    if (flags.saveAs !== undefined) {
      const { record } = saveAdapterAs(flags.saveAs, flags.adapterPath);
      terminal.print(`Kept in graft's store as ${flags.saveAs}, ${record.digest}`);
    }
  }
  if (flags.test) await runTest(setup, terminal);
  return EXIT.ok;
}

async function runLoop<B extends Batch>(
  setup: TrainSetup<B>,
  flags: TrainFlags,
  terminal: Terminal,
  evaluations: Evaluations,
): Promise<TrainOutcome> {
  const settings = settingsOf(flags, setup.data);
  const gate = pauseGate(flags);
  const directory = flags.adapterPath;
  const checkpoints = new CheckpointDirectory(
    checkpointsOf(flags),
    identityOf(setup, flags),
    flags.keepCheckpoints,
  );
  const found = findCheckpoint(checkpoints, flags, terminal);
  const firstStep = found?.checkpoint.state.step ?? 0;
  if (found !== undefined && firstStep >= settings.totalSteps) {
    terminal.note("That was its end: no step is left to train; more --iters or --epochs train on");
  }
  makeDirectory(directory);
  replaceFile(
    join(directory, CONFIG_FILE),
    new TextEncoder().encode(formatConfig(flags, TRAIN_FLAGS)),
  );
  if (setup.memory !== undefined) writeChosenMemory(directory, setup.memory);
  const peakMemory = () => processMemory().peakRssBytes;
  const callbacks = [
    progressCallbacks(terminal, settings.totalSteps, peakMemory, firstStep),
    evaluations.callbacks,
  ];
  using metrics = flags.reportTo.includes("jsonl")
    ? new MetricsFile(join(directory, "metrics.jsonl"), firstStep)
    : undefined;
  if (metrics !== undefined) callbacks.push(metrics.callbacks(peakMemory));
  const check = setup.numeric?.check;
  if (check !== undefined && firstStep === 0) {
    metrics?.append({
      step: 0,
      numeric: flags.numeric,
      fast_cosine: check.cosine,
      fast_relative_error: check.relativeError,
    });
  }
  using stop = new StopSignal(() =>
    terminal.note("Stopping after this batch; again to stop at once")
  );
  using kept = openPrefixCache(setup.frozen, flags, settings, setup.data, terminal);
  const outcome = await train({
    model: setup.model,
    optimizer: setup.optimizer,
    data: setup.data,
    validation: flags.valBatches === 0 ? undefined : setup.validation,
    settings,
    callbacks: combineCallbacks(...callbacks),
    checkpoints: {
      save: (checkpoint) => {
        // A resume finds what the steps before its checkpoint have read.
        kept?.sync();
        return checkpoints.save(checkpoint);
      },
    },
    resume: found?.checkpoint,
    signal: stop.signal,
    gate,
  });
  if (outcome.end !== "interrupted") kept?.remove();
  return outcome;
}

function tellInterrupted({ step }: TrainOutcome, flags: TrainFlags, terminal: Terminal): number {
  const where = flags.adapterPath === TRAIN_FLAGS.adapterPath.default
    ? ""
    : ` --adapter-path ${shellWord(flags.adapterPath)}`;
  terminal.note(
    `Stopped after step ${step}; ${flags.adapterPath} has the adapter so far and a checkpoint`,
  );
  terminal.note(`To go on: graft train --resume${where}`);
  return EXIT.interrupted;
}

function tellDiverged(outcome: TrainOutcome, flags: TrainFlags, terminal: Terminal): number {
  terminal.note(paint(
    terminal,
    "red",
    `Stopped at step ${outcome.step}: ${outcome.reason}. ${flags.adapterPath} has the adapter of ` +
      `step ${outcome.parametersOfStep}, the last before its numbers went bad; try a lower ` +
      `--learning-rate than ${flags.learningRate}`,
  ));
  return EXIT.refused;
}

function tellFinished(outcome: TrainOutcome, flags: TrainFlags, terminal: Terminal): void {
  if (outcome.end === "stopped early") {
    terminal.note(
      `Stopped early at step ${outcome.step}: the validation loss has not fallen for ` +
        `${flags.patience} evaluations`,
    );
  }
  const best = outcome.parametersOfStep === outcome.step
    ? ""
    : `, of step ${outcome.parametersOfStep} with the lowest validation loss`;
  terminal.print(`Saved the adapter in ${flags.adapterPath}${best}`);
}

async function runTest<B extends Batch>(setup: TrainSetup<B>, terminal: Terminal): Promise<void> {
  const metrics = await evaluate(setup.model, setup.test!); // checked at the start
  const { loss, accuracy } = metrics!; // no signal, so it cannot be cut short
  const share = accuracy === undefined ? "" : `, accuracy ${(accuracy * 100).toFixed(1)}%`;
  terminal.print(`Test loss ${loss.toFixed(4)}${share}, perplexity ${Math.exp(loss).toFixed(3)}`);
}
