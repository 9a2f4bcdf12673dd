/** What a training run shows while it runs: a bar on a terminal, plain lines elsewhere. */
import type { EvaluationReport, StepReport, TrainCallbacks } from "../../train/events.ts";
import { formatBytes, formatSeconds } from "./format.ts";
import { paint, type Terminal } from "./output.ts";
import { inFlags } from "../parameter_names.ts";

/** Least time between two drawings of the bar. */
const REDRAW_MS = 100;
const BAR_WIDTH = 20;

/** What the bar shows. */
export interface ProgressState {
  readonly step: number;
  readonly totalSteps: number;
  readonly loss: number;
  readonly tokensPerSecond: number;
  readonly memoryBytes: number;
  readonly secondsLeft: number;
}

/** The bar as text, at most `columns` wide. */
export function formatProgress(state: ProgressState, columns: number): string {
  const { step, totalSteps } = state;
  const filled = Math.floor(BAR_WIDTH * step / Math.max(1, totalSteps));
  const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
  const line = `${bar} ${step}/${totalSteps}  loss ${state.loss.toFixed(4)}  ` +
    `${Math.round(state.tokensPerSecond)} tok/s  ${formatBytes(state.memoryBytes)}  ` +
    `${formatSeconds(state.secondsLeft)} left`;
  return line.slice(0, Math.max(0, columns - 1));
}

/** A report as one plain line. */
export function formatReport(report: StepReport, memoryBytes: number, secondsLeft: number): string {
  const { step, totalSteps, loss, learningRate, gradNorm, tokensPerSecond } = report;
  return `step ${step}/${totalSteps}: loss ${loss.toFixed(4)}, learning rate ` +
    `${learningRate.toPrecision(3)}, gradient norm ${gradNorm.toPrecision(3)}, ` +
    `${Math.round(tokensPerSecond)} tok/s, ${formatBytes(memoryBytes)}, ` +
    `${formatSeconds(secondsLeft)} left`;
}

/** An evaluation as one plain line. */
function formatEvaluation({ step, loss, accuracy, improved }: EvaluationReport): string {
  const share = accuracy === undefined ? "" : `, accuracy ${(accuracy * 100).toFixed(1)}%`;
  return `step ${step}: validation loss ${loss.toFixed(4)}${share}${improved ? " (best)" : ""}`;
}

/**
 * Callbacks that show a run.
 *
 * @param peakMemoryBytes the process's memory, asked at each drawing
 * @param firstStep step at which the run begins: 0, or that of the checkpoint it resumes
 */
export function progressCallbacks(
  terminal: Terminal,
  totalSteps: number,
  peakMemoryBytes: () => number,
  firstStep = 0,
): TrainCallbacks {
  let began = performance.now();
  let drawn = -Infinity;
  let last = began;
  let rate = 0; // tokens a second, smoothed over about ten steps
  const secondsLeft = (step: number) =>
    (performance.now() - began) / 1000 / Math.max(1, step - firstStep) * (totalSteps - step);
  return {
    onStep({ step, loss, tokens }) {
      const now = performance.now();
      const current = tokens / Math.max((now - last) / 1000, 1e-9);
      rate = rate === 0 ? current : 0.9 * rate + 0.1 * current;
      last = now;
      if (!terminal.interactive || (now - drawn < REDRAW_MS && step < totalSteps)) return;
      drawn = now;
      terminal.status(
        formatProgress({
          step,
          totalSteps,
          loss,
          tokensPerSecond: rate,
          memoryBytes: peakMemoryBytes(),
          secondsLeft: secondsLeft(step),
        }, terminal.columns),
      );
    },
    onReport(report) {
      // The bar has the same numbers, newer.
      if (terminal.interactive) return;
      terminal.note(formatReport(report, peakMemoryBytes(), secondsLeft(report.step)));
    },
    onEvaluate(report) {
      const line = formatEvaluation(report);
      terminal.note(report.improved ? paint(terminal, "green", line) : line);
      last = performance.now();
    },
    onSkip({ step, reason }) {
      terminal.note(paint(terminal, "yellow", `step ${step} was skipped: ${reason}`));
    },
    onPause({ step, reason }) {
      terminal.note(
        paint(terminal, "yellow", `Paused after step ${step}: ${inFlags(reason)}`),
      );
    },
    onGoOn({ step, seconds }) {
      terminal.note(`Going on after step ${step}, ${formatSeconds(seconds)} later`);
      began += seconds * 1000; // what is left to do does not get longer by a wait
      last = performance.now();
    },
    onCheckpoint({ step, path }) {
      if (!terminal.interactive) terminal.note(`step ${step}: saved ${path}`);
      last = performance.now();
    },
  };
}
