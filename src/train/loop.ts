/**
 * The training loop: steps, reports, evaluation, checkpoints, and the ways to end.
 *
 * A step is one update of the parameters from `accumulation` micro-batches. Everything that decides
 * the next step is in the {@linkcode TrainState}, the parameters and the optimiser's state: a run
 * resumed from a checkpoint goes on exactly as the one that wrote it would have.
 */
import type { Message } from "../errors.ts";
import { firstNonFinite } from "../graph/finite.ts";
import type { Tensor } from "../graph/tensor.ts";
import { accumulate, applyStep } from "./accumulate.ts";
import type { Checkpoint, CheckpointSink } from "./checkpoint.ts";
import { validate } from "./validate.ts";
import type { TrainCallbacks, TrainOutcome } from "./events.ts";
import type { Optimizer } from "./optimizer.ts";
import { LostPeerError } from "./lost_peer_error.ts";
import type { Gate } from "./pause.ts";
import type { Peers } from "./peers.ts";
import { Random } from "../random.ts";
import { sleep } from "../system/sleep.ts";
import { learningRateAt, type LearningRateSchedule } from "./learning_rate.ts";
import { type DataPosition, initialState, type TrainState } from "./state.ts";
import type { Batch, BatchSource, StepModel } from "./step.ts";
import { ReportWindow } from "./window.ts";

/** Numbers that steer a run; steps are updates, batches micro-batches. */
export interface TrainSettings {
  readonly totalSteps: number;
  /** Micro-batches per step. */
  readonly accumulation: number;
  readonly schedule: LearningRateSchedule;
  /** Largest gradient norm; 0 does not clip. */
  readonly maxGradNorm: number;
  readonly stepsPerReport: number;
  readonly stepsPerEval: number;
  /** Validation batches per evaluation; negative for all. */
  readonly valBatches: number;
  /** Steps between checkpoints. */
  readonly saveEvery: number;
  /** Evaluations without improvement after which to stop; 0 never stops early. */
  readonly patience: number;
  /** Whether the run ends with the parameters of its best evaluation, not its last step. */
  readonly loadBest: boolean;
  readonly seed: number;
}

/** Skipped steps in a row after which a run has diverged. */
export const SKIPS_BEFORE_END = 3;

/** Everything that a run is made of. */
export interface TrainJob<B extends Batch> {
  readonly model: StepModel<B>;
  readonly optimizer: Optimizer;
  readonly data: BatchSource<B>;
  readonly validation?: BatchSource<B>;
  readonly settings: TrainSettings;
  readonly callbacks?: TrainCallbacks;
  /** Where checkpoints go; without it, none are made. */
  readonly checkpoints?: CheckpointSink;
  /** What to resume from: its tensors are written into model and optimiser. */
  readonly resume?: Checkpoint;
  /** Ends the run after the current micro-batch. */
  readonly signal?: AbortSignal;
  /** Asked before each step; the run waits while it is closed. */
  readonly gate?: Gate;
  /** Other processes that take the same steps with other rows; `signal` must then be theirs. */
  readonly peers?: Peers;
}

/** Milliseconds between two questions to a closed gate. */
const GATE_POLL_MS = 1000;

/** Number of steps that `epochs` passes over the data take. */
export function stepsOf(data: BatchSource, epochs: number, accumulation: number): number {
  let steps = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    steps += Math.ceil(data.batches(epoch) / accumulation);
  }
  return steps;
}

/**
 * Trains until all steps are taken, the validation loss no longer falls, the signal fires, or the run
 * diverges.
 *
 * @throws {RangeError} if the data has no batch, or a checkpoint does not fit the model
 * @throws {StorageError} if a checkpoint cannot be written
 * @throws {LostPeerError} if another process is gone; a checkpoint of the last whole step was saved
 */
export async function train<B extends Batch>(job: TrainJob<B>): Promise<TrainOutcome> {
  if (job.data.batches(0) === 0) throw new RangeError("Cannot train: the data has no batch");
  const run = new Run(job);
  if (job.resume !== undefined) run.restore(job.resume);
  return await run.go();
}

class Run<B extends Batch> {
  #state: TrainState;
  #best: ReadonlyMap<string, Tensor> | undefined;
  /** The last state that was written, so that none is written twice. */
  #saved: TrainState | undefined;
  #saveDue = false;
  #skipReason = "";
  readonly #window = new ReportWindow();

  constructor(readonly job: TrainJob<B>) {
    this.#state = initialState(job.settings.seed);
  }

  restore(checkpoint: Checkpoint): void {
    writeParameters(this.job.model, checkpoint.parameters);
    this.job.optimizer.restore(checkpoint.optimizer);
    this.#state = checkpoint.state;
    this.#best = checkpoint.best;
    this.#saved = checkpoint.state;
  }

  async go(): Promise<TrainOutcome> {
    try {
      return await this.#go();
    } catch (error) {
      if (error instanceof LostPeerError && this.#isSound()) this.#save();
      throw error;
    }
  }

  async #go(): Promise<TrainOutcome> {
    const { model, settings, signal, peers } = this.job;
    if (this.#state.widened) model.widen?.();
    while (true) {
      await this.#whileClosed();
      // What is due at a step follows from the state alone, so a resumed run repeats and forgets nothing.
      if (this.#evaluationDue()) await this.#evaluate();
      if (signal?.aborted) return this.#interrupted();
      if (this.#state.skippedInARow >= SKIPS_BEFORE_END) return this.#diverged();
      if (this.#outOfPatience()) return this.#finish("stopped early");
      if (this.#state.step >= settings.totalSteps) return this.#finish("finished");
      if (this.#state.step > 0 && this.#state.step % settings.saveEvery === 0) this.#saveDue = true;
      // After a number that is not finite, the parameters are in doubt until a step is taken with them.
      if (this.#saveDue && this.#state.skippedInARow === 0) {
        if (this.#overflowed()) return this.#diverged();
        // Processors of other kinds round otherwise: their parameters drift apart.
        await peers?.align(model.parameters);
        this.#save();
      }
      await this.#step();
    }
  }

  /** Waits for the gate, after saving a checkpoint: the wait may be long. */
  async #whileClosed(): Promise<void> {
    const { callbacks, signal } = this.job;
    const reason = await this.#closedBy(false);
    if (reason === undefined || signal?.aborted) return;
    const { step } = this.#state;
    if (this.#isSound()) this.#save();
    callbacks?.onPause?.({ step, reason });
    const began = performance.now();
    do await sleep(GATE_POLL_MS, signal); while (
      !signal?.aborted && await this.#closedBy(true) !== undefined
    );
    const seconds = (performance.now() - began) / 1000;
    if (!signal?.aborted) callbacks?.onGoOn?.({ step, seconds });
  }

  /** Why no step may be taken now: the gate of any process is closed. */
  async #closedBy(waiting: boolean): Promise<Message | undefined> {
    const { gate, peers } = this.job;
    const own = gate?.closedBy(waiting);
    if (peers === undefined) return own;
    const [closed] = await peers.sum([own === undefined ? 0 : 1]);
    return closed === 0 ? undefined : own ?? "another rank waits";
  }

  /** Whether parameters and state are those of a step that a run can go on from. */
  #isSound(): boolean {
    const { step, skippedInARow } = this.#state;
    return step > 0 && skippedInARow === 0 && !this.#overflowed();
  }

  #evaluationDue(): boolean {
    const { validation, settings } = this.job;
    const { step, evaluatedStep } = this.#state;
    if (validation === undefined || evaluatedStep === step) return false;
    return step % settings.stepsPerEval === 0 || step >= settings.totalSteps;
  }

  async #step(): Promise<void> {
    const { model, optimizer, data, settings, callbacks, signal, peers } = this.job;
    const state = this.#state;
    const random = Random.fromState(state.random);
    this.#window.start(peers?.waited);
    const batches = {
      data,
      position: state.position,
      count: settings.accumulation,
      isLast: state.step + 1 >= settings.totalSteps,
    };
    const sums = await accumulate(model, batches, random, signal, peers);
    if (sums === undefined) return;
    const learningRate = learningRateAt(settings.schedule, state.step);
    const result = await applyStep(optimizer, sums, learningRate, settings.maxGradNorm);
    this.#window.stop(peers?.waited);
    if (!result.taken && result.badNumbers && await this.#widened()) {
      // The same step again: the overflow may have been in a float16 copy, not in the activation.
      this.#state = { ...state, widened: true };
      return;
    }
    this.#state = {
      ...state,
      step: state.step + 1,
      position: sums.next,
      random: random.state,
      skippedInARow: result.taken || !result.badNumbers ? 0 : state.skippedInARow + 1,
      tokens: state.tokens + sums.tokens,
    };
    const step = this.#state.step;
    if (result.taken) {
      this.#window.add(sums, result.gradNorm);
      callbacks?.onStep?.({ step, loss: sums.lossSum / sums.targetCount, tokens: sums.tokens });
    } else {
      this.#skipReason = result.reason;
      callbacks?.onSkip?.({ step, reason: result.reason });
    }
    if (step % settings.stepsPerReport === 0 || step === settings.totalSteps) {
      this.#report(learningRate);
    }
  }

  /** Keeps more in full precision; whether that changes something in any process. */
  async #widened(): Promise<boolean> {
    const { model, peers } = this.job;
    const own = model.widen?.() ?? false;
    if (peers === undefined) return own;
    // Each keeps what its memory allows.
    const [count] = await peers.sum([own ? 1 : 0]);
    return count > 0;
  }

  #report(learningRate: number): void {
    const sums = this.#window.take();
    if (sums === undefined) return; // every step of the window was skipped and reported
    this.job.callbacks?.onReport?.({
      step: this.#state.step,
      totalSteps: this.job.settings.totalSteps,
      epoch: epochsDone(this.#state.position, this.job.data),
      learningRate,
      ...sums,
    });
  }

  async #evaluate(): Promise<void> {
    const { model, validation, settings, callbacks, signal, peers } = this.job;
    const began = performance.now();
    const metrics = await validate(model, validation!, settings.valBatches, signal, peers);
    if (metrics === undefined) return;
    const { loss, accuracy, parts } = metrics;
    const { step, best } = this.#state;
    // The untrained adapter is the measure, not a candidate.
    const improved = step > 0 && loss < (best?.loss ?? Infinity);
    if (improved && settings.loadBest) this.#best = readParameters(model);
    const since = improved || step === 0 ? 0 : this.#state.evaluationsSinceBest + 1;
    this.#state = {
      ...this.#state,
      evaluatedStep: step,
      best: improved ? { step, loss } : best,
      evaluationsSinceBest: since,
    };
    const seconds = (performance.now() - began) / 1000;
    callbacks?.onEvaluate?.({ step, loss, accuracy, parts, seconds, improved });
  }

  #outOfPatience(): boolean {
    const { patience } = this.job.settings;
    return patience > 0 && this.#state.evaluationsSinceBest >= patience;
  }

  #save(): void {
    const { checkpoints, model, optimizer, callbacks } = this.job;
    this.#saveDue = false;
    if (checkpoints === undefined || this.#saved === this.#state) return;
    const path = checkpoints.save({
      state: this.#state,
      parameters: viewParameters(model),
      optimizer: optimizer.state(),
      best: this.#best,
    });
    this.#saved = this.#state;
    callbacks?.onCheckpoint?.({ step: this.#state.step, path });
  }

  /** Whether an update left parameters that are not finite, which no loss has shown yet. */
  #overflowed(): boolean {
    const bad = this.job.model.parameters.find(({ value }) => firstNonFinite(value.view()) >= 0);
    if (bad === undefined) return false;
    this.#skipReason = `parameter "${bad.name}" is no longer finite`;
    return true;
  }

  #interrupted(): TrainOutcome {
    if (this.#state.skippedInARow > 0 || this.#overflowed()) return this.#diverged();
    this.#save();
    return this.#outcome("interrupted", this.#state.step);
  }

  /** Saves no checkpoint: the run must go on from one that was written before the numbers went bad. */
  #diverged(): TrainOutcome {
    const lastTaken = this.#state.step - this.#state.skippedInARow;
    const reverted = this.job.optimizer.revert();
    const outcome = this.#outcome("diverged", reverted ? lastTaken - 1 : lastTaken);
    return { ...outcome, reason: this.#skipReason };
  }

  #finish(end: "finished" | "stopped early"): TrainOutcome {
    // The last update may have caused it, and no later loss shows otherwise.
    if (this.#state.skippedInARow > 0 || this.#overflowed()) return this.#diverged();
    this.#save();
    const { best, step } = this.#state;
    if (this.#best === undefined || best === undefined) return this.#outcome(end, step);
    writeParameters(this.job.model, this.#best);
    return this.#outcome(end, best.step);
  }

  #outcome(end: TrainOutcome["end"], parametersOfStep: number): TrainOutcome {
    return { end, step: this.#state.step, best: this.#state.best, parametersOfStep };
  }
}

function epochsDone(position: DataPosition, data: BatchSource): number {
  return position.epoch + position.batchIndex / data.batches(position.epoch);
}

/** Views of all parameters, valid until the next update. */
export function viewParameters(model: StepModel): Map<string, Tensor> {
  return new Map(model.parameters.map(({ name, value }) => [name, value.view()]));
}

/** Copies all parameters to the host. */
export function readParameters(model: StepModel): Map<string, Tensor> {
  return new Map(model.parameters.map(({ name, value }) => [name, value.read()]));
}

/**
 * Overwrites all parameters of a model.
 *
 * @throws {RangeError} if one is missing, has another shape or does not belong to the model
 */
export function writeParameters(model: StepModel, values: ReadonlyMap<string, Tensor>): void {
  for (const { name, dims, value } of model.parameters) {
    const found = values.get(name);
    if (found === undefined || found.dims.join() !== dims.join()) {
      throw new RangeError(
        `Cannot restore parameter "${name}": it must be [${dims}]: current value is ` +
          (found === undefined ? "missing" : `[${found.dims}]`),
      );
    }
    value.write(found);
  }
  if (values.size > model.parameters.length) {
    const known = new Set(model.parameters.map((parameter) => parameter.name));
    const extra = [...values.keys()].filter((name) => !known.has(name));
    throw new RangeError(`Cannot restore parameters: the model has no "${extra.join('", "')}"`);
  }
}
