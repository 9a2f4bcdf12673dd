/** What a training run reports; callbacks are its only way to report. */
import type { Message } from "../errors.ts";
import type { Best } from "./state.ts";
import type { BatchLoss } from "./step.ts";

/** The window since the last report. */
export interface StepReport {
  /** The last step of the report, from 1. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly totalSteps: number;
  /** Epochs done, with a fraction. */
  readonly epoch: number;
  /** Mean loss over the target tokens of the window. */
  readonly loss: number;
  /** Learning rate of the last step. */
  readonly learningRate: number;
  /** Norm of the last step's gradient (of the mean loss), before clipping. */
  readonly gradNorm: number;
  /** Real tokens per second; evaluation and saving are not counted. */
  readonly tokensPerSecond: number;
  /** Of several boards: the share of the steps' time that went by waiting for the wire and each other. */
  readonly waitShare?: number;
  /** Seconds since the run began, or was resumed. */
  readonly seconds: number;
}

/** An evaluation on the validation data. */
export interface EvaluationReport {
  /** Step after which the evaluation ran; 0 is before the first. */
  readonly step: number;
  /** Mean loss over the target tokens. */
  readonly loss: number;
  /** Share of right answers, if the task has them. */
  readonly accuracy?: number;
  /** The loss of each evaluated batch. */
  readonly parts: readonly BatchLoss[];
  /** Duration of the evaluation in seconds. */
  readonly seconds: number;
  /** Whether it is the best so far. */
  readonly improved: boolean;
}

/** A step that was not taken. */
export interface SkipReport {
  /** Step that changed nothing. */
  readonly step: number;
  /** What was not finite, or missing: a clause for a sentence. */
  readonly reason: string;
}

/** All optional; each is called at most once per step. */
export interface TrainCallbacks {
  /** After every step, for a progress bar: nothing here is averaged. */
  onStep?(
    progress: { readonly step: number; readonly loss: number; readonly tokens: number },
  ): void;
  onReport?(report: StepReport): void;
  onEvaluate?(report: EvaluationReport): void;
  onSkip?(report: SkipReport): void;
  onCheckpoint?(checkpoint: { readonly step: number; readonly path: string }): void;
  /** The run waits before its next step; `reason` is a clause for a sentence. */
  onPause?(pause: { readonly step: number; readonly reason: Message }): void;
  /** The wait has ended. */
  onGoOn?(pause: { readonly step: number; readonly seconds: number }): void;
}

/** How a run ended. */
export interface TrainOutcome {
  /**
   * - `finished`: all steps were taken.
   * - `stopped early`: the validation loss no longer fell.
   * - `interrupted`: the signal fired; a checkpoint was saved.
   * - `diverged`: loss or gradient stayed NaN or infinite; the parameters are the last good ones.
   */
  readonly end: "finished" | "stopped early" | "interrupted" | "diverged";
  /** Last step that was taken. */
  readonly step: number;
  /** The evaluation with the least loss, if there was one. */
  readonly best?: Best;
  /** What was not finite, for a run that diverged. */
  readonly reason?: string;
  /** Step whose parameters the model holds now. */
  readonly parametersOfStep: number;
}

/** Callbacks that call each of several, in order. */
export function combineCallbacks(...all: readonly TrainCallbacks[]): TrainCallbacks {
  return {
    onStep: (progress) => all.forEach((one) => one.onStep?.(progress)),
    onReport: (report) => all.forEach((one) => one.onReport?.(report)),
    onEvaluate: (report) => all.forEach((one) => one.onEvaluate?.(report)),
    onSkip: (report) => all.forEach((one) => one.onSkip?.(report)),
    onCheckpoint: (checkpoint) => all.forEach((one) => one.onCheckpoint?.(checkpoint)),
    onPause: (pause) => all.forEach((one) => one.onPause?.(pause)),
    onGoOn: (pause) => all.forEach((one) => one.onGoOn?.(pause)),
  };
}
