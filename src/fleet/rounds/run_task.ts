/** Does a round's work in this process, which has the data and no network. */
import { join } from "@std/path";
import { RefusedError } from "../../errors.ts";
import type { FineTuneConfig } from "../../finetune/config.ts";
import { targetsOf } from "../../finetune/adapter_targets.ts";
import { openBase } from "../../finetune/base_model.ts";
import type { FineTuneEvent } from "../../finetune/events.ts";
import { prepareTraining } from "../../finetune/prepare_training.ts";
import { runTraining } from "../../finetune/run_training.ts";
import { modelDigest } from "../../lora/digest.ts";
import type { LoraWeights } from "../../lora/lora_weights.ts";
import { loadAdapter } from "../../model/adapter_dir.ts";
import { validate } from "../../train/validate.ts";
import { writeFleetAdapter } from "./adapter_folder.ts";
import { type BoxSettings, roundConfig, START } from "./box_config.ts";
import { type FleetLayer, formatLayers, joinVector, splitVector } from "./layout.ts";
import type { FleetReply, SpooledTask } from "./spool.ts";
import { seededAdapter, startAdapter } from "./start_adapter.ts";
import { type FleetTask, readTask } from "./task.ts";
import { REPLY_ERRORS, TaskError } from "./task_error.ts";
import { untilOpen } from "./until_open.ts";
import { claimWork, forgiveAttempt, removeWork } from "./work_folder.ts";

export interface RunTaskOptions {
  /** Folder of the work; what an earlier process left there of the same task is gone on with. */
  readonly work: string;
  /** Folder in which the adapter that came is kept, as PEFT's files. */
  readonly savePath?: string;
  readonly onEvent?: (event: FineTuneEvent) => void;
  /** Told why the work cannot begin yet; a clause. */
  readonly onWait?: (reason: string) => void;
  /** Ends the work in order: a training can be resumed. */
  readonly signal: AbortSignal;
}

/**
 * Trains or evaluates as a task asks.
 *
 * @returns the reply; `undefined` if the signal came first
 * @throws {GraftError} for what is wrong with this box
 */
export async function runTask(
  spooled: SpooledTask,
  box: BoxSettings,
  options: RunTaskOptions,
): Promise<FleetReply | undefined> {
  try {
    const { resume, attempt } = claimWork(options.work, spooled.header.messageId);
    if (attempt > MOST_ATTEMPTS) {
      return refusal("failed", `The training was killed ${MOST_ATTEMPTS} times`);
    }
    const round = beginRound(spooled, box, resume, options);
    const { expires } = spooled.header;
    switch (await untilOpen(round.config, expires, options)) {
      case "stopped":
        forgiveAttempt(options.work);
        return undefined;
      case "too late":
        return refusal("tooLate", "The box may not compute before the message's time is over");
    }
    const reply = round.task.kind === "train"
      ? await train(round, options)
      : await evaluate(round, options);
    if (reply === "again") {
      removeWork(options.work);
      return await runTask(spooled, box, options);
    }
    if (reply === undefined) forgiveAttempt(options.work);
    return reply;
  } catch (error) {
    if (error instanceof TaskError) return refusal("notUnderstood", error.message);
    throw error;
  }
}

/** A training that is killed so often will be killed again. */
const MOST_ATTEMPTS = 3;

/** The reply to a task that was not done. */
export function refusal(error: keyof typeof REPLY_ERRORS, reason: string): FleetReply {
  return { error: { code: REPLY_ERRORS[error], reason } };
}

/**
 * What a server may know of an error of this box: nothing that its message quotes.
 */
export function refusalFor(error: unknown): FleetReply {
  return error instanceof RefusedError
    ? refusal(
      "failed",
      "The box refuses: its memory does not suffice, or its model cannot be trained",
    )
    : refusal("failed", "It failed; the box's own log says why");
}

interface Round {
  readonly task: FleetTask;
  readonly config: FineTuneConfig;
  /** Layers that this box adapts, in the order of its model. */
  readonly layers: readonly FleetLayer[];
}

/** Checks the task against this box, and writes the adapter that the round starts with. */
function beginRound(
  { header, config: settings, layout, adapter }: SpooledTask,
  box: BoxSettings,
  resume: boolean,
  { work, savePath }: RunTaskOptions,
): Round {
  const task = readTask(header.type, settings, layout, adapter?.length ?? 0);
  const config = roundConfig(task, box, work);
  using base = openBase(config.model);
  if (task.baseDigest !== undefined && task.baseDigest !== modelDigest(base.model)) {
    throw new TaskError('This box has another base than "base-digest" says');
  }
  const layers = targetsOf(base.model, config).sites.map(({ module, rank }) => ({
    ...{ name: module.path, rank, in: module.inFeatures, out: module.outFeatures },
  }));
  const start = startAdapter(task, layers, adapter);
  const write = (
    folder: string,
    layers: readonly FleetLayer[],
    weights: ReadonlyMap<string, LoraWeights>,
  ) => writeFleetAdapter(folder, layers, weights, config.loraAlpha, config.model);
  if (!resume) write(join(work, START), layers, start);
  if (savePath !== undefined && adapter !== undefined && adapter.length > 0) {
    const came = task.layers ?? layers;
    write(savePath, came, wholeWeights(task, came, adapter));
  }
  return { task, config: { ...config, resume }, layers };
}

/** The adapter as it came, with A from the seed where it did not travel. */
function wholeWeights(
  { parts, seed }: FleetTask,
  layers: readonly FleetLayer[],
  adapter: Float32Array,
): ReadonlyMap<string, LoraWeights> {
  const seeded = parts === "B" ? seededAdapter(layers, seed) : undefined;
  return new Map(
    [...splitVector(adapter, layers, parts)].map(([name, { a, b }]) => [
      name,
      { a: a ?? seeded!.get(name)!.a, b },
    ]),
  );
}

async function train(
  { task, config, layers }: Round,
  { onEvent = () => {}, signal }: RunTaskOptions,
): Promise<FleetReply | "again" | undefined> {
  const seen = new Figures();
  const watch = (event: FineTuneEvent) => {
    seen.add(event);
    onEvent(event);
  };
  using parts = await prepareTraining(config, { onEvent: watch, signal });
  const { training } = await runTraining(parts, config, { onEvent: watch, signal });
  if (training?.end === "interrupted") return undefined;
  if (training?.end === "diverged") return refusal("diverged", "The loss diverged");
  // It was killed behind its last checkpoint, which has no figures.
  if (seen.loss === undefined) return "again";
  const trained = loadAdapter(config.adapterPath).adapter.lora;
  const metrics = new Map([["num-examples", seen.rows], ["train-loss", seen.loss]]);
  if (seen.before !== undefined) metrics.set("loss-before", seen.before);
  if (seen.after !== undefined) metrics.set("loss-after", seen.after);
  return {
    layout: new Map([["layers", formatLayers(layers)], ["parts", task.parts]]),
    adapter: joinVector(trained, layers, task.parts),
    metrics,
  };
}

/** What a training reports of itself. */
class Figures {
  rows = 0;
  loss: number | undefined;
  before: number | undefined;
  after: number | undefined;

  add(event: FineTuneEvent): void {
    if (event.kind === "encoded" && event.part === "training") this.rows = event.report.rows;
    if (event.kind === "report") this.loss = event.report.loss;
    if (event.kind !== "evaluated") return;
    if (event.report.step === 0) this.before = event.report.loss;
    else this.after = event.report.loss;
  }
}

async function evaluate(
  { config }: Round,
  { onEvent = () => {}, signal }: RunTaskOptions,
): Promise<FleetReply | undefined> {
  let rows = 0;
  const watch = (event: FineTuneEvent) => {
    if (event.kind === "encoded" && event.part === "validation") rows = event.report.rows;
    onEvent(event);
  };
  using parts = await prepareTraining(config, { onEvent: watch, signal });
  if (parts.validation === undefined) return refusal("failed", "The box holds no rows out");
  const found = await validate(parts.model, parts.validation, -1, signal);
  if (found === undefined) return undefined;
  const metrics = new Map([["num-examples", rows], ["loss", found.loss]]);
  if (found.accuracy !== undefined) metrics.set("accuracy", found.accuracy);
  return { metrics };
}
