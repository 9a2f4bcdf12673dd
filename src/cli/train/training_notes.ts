/** What `graft train` prints of a fine-tuning's events. */
import { formatShare } from "../../format.ts";
import type {
  ChangedSetting,
  FineTuneEvent,
  OnEvent,
  PrefixCacheEvent,
  TestMetrics,
} from "../../finetune/mod.ts";
import { processMemory } from "../../system/memory.ts";
import type { TrainCallbacks, TrainOutcome } from "../../train/events.ts";
import { formatBytes, formatCount, shellWord } from "../terminal/format.ts";
import { paint, type Terminal } from "../terminal/output.ts";
import { asCommandLine } from "../parameter_names.ts";
import { notePreparation } from "./preparation_notes.ts";
import { progressCallbacks } from "../terminal/progress.ts";
import { TRAIN_FLAGS, type TrainFlags } from "./train_flags.ts";

/** What of the flags the end of a run is told with. */
export type NotedFlags = Pick<TrainFlags, "learningRate" | "patience">;

/** Prints a fine-tuning's events as they come. */
export function trainingNotes(flags: NotedFlags, terminal: Terminal): OnEvent {
  let progress: TrainCallbacks = {};
  return (event) => {
    switch (event.kind) {
      case "waited":
        return terminal.note(
          `Waiting for the wire and the slowest rank took ${
            formatShare(event.share)
          } of the run; ` +
            `gradients travelled beside the backward pass for ${formatShare(event.overlap)} of it`,
        );
      case "started":
        noteStart(event, terminal);
        progress = progressCallbacks(terminal, event.totalSteps, peakMemory, event.firstStep);
        return;
      case "step":
        return progress.onStep?.(event);
      case "report":
        return progress.onReport?.(event.report);
      case "evaluated":
        return progress.onEvaluate?.(event.report);
      case "skipped":
        return progress.onSkip?.(event.report);
      case "paused":
        return progress.onPause?.(event);
      case "continued":
        return progress.onGoOn?.(event);
      case "checkpoint":
        return progress.onCheckpoint?.(event);
      case "checkpoint ignored":
        return terminal.note(paint(terminal, "yellow", event.text));
      case "resumed":
        return noteResumed(event, terminal);
      case "saved":
        return noteSaved(event, flags, terminal);
      case "stored":
        return terminal.print(
          `Kept in graft's store as ${event.name}, ${event.adapter.record.digest}`,
        );
      case "tested":
        return printTest(event.metrics, terminal);
      case "prefix cache opened":
      case "prefix cache busy":
      case "prefix cache damaged":
      case "prefix cache full":
      case "prefix cache removed":
      case "prefix cache failed":
        return notePrefixCache(event, terminal);
      default:
        return notePreparation(event, terminal);
    }
  };
}

type Of<Kind extends FineTuneEvent["kind"]> = FineTuneEvent & { readonly kind: Kind };

const peakMemory = () => processMemory().peakRssBytes;

function noteStart({ firstStep, totalSteps }: Of<"started">, terminal: Terminal): void {
  if (firstStep < totalSteps) return;
  terminal.note("That was its end: no step is left to train; more --iters or --epochs train on");
}

function noteResumed({ path, changed }: Of<"resumed">, terminal: Terminal): void {
  terminal.note(`Resuming from ${path}`);
  if (changed.length === 0) return;
  const what = changed.map(formatChange).join(", ");
  terminal.note(`Going on with other settings than the run had: ${what}`);
}

const formatChange = ({ parameter, now, before }: ChangedSetting) =>
  `${asCommandLine(parameter)} ${now ?? "not given"} (was ${before ?? "not given"})`;

function noteSaved(
  { adapterPath, outcome }: Of<"saved">,
  { learningRate, patience }: NotedFlags,
  terminal: Terminal,
): void {
  switch (outcome.end) {
    case "interrupted":
      return noteInterrupted(outcome, adapterPath, terminal);
    case "diverged":
      return terminal.note(paint(
        terminal,
        "red",
        `Stopped at step ${outcome.step}: ${outcome.reason}. ${adapterPath} has the adapter of ` +
          `step ${outcome.parametersOfStep}, the last before its numbers went bad; try a lower ` +
          `--learning-rate than ${learningRate}`,
      ));
    case "stopped early":
      terminal.note(
        `Stopped early at step ${outcome.step}: the validation loss has not fallen for ` +
          `${patience} evaluations`,
      );
      return printSaved(outcome, adapterPath, terminal);
    case "finished":
      return printSaved(outcome, adapterPath, terminal);
  }
}

function noteInterrupted({ step }: TrainOutcome, adapterPath: string, terminal: Terminal): void {
  const where = adapterPath === TRAIN_FLAGS.adapterPath.default
    ? ""
    : ` --adapter-path ${shellWord(adapterPath)}`;
  terminal.note(
    `Stopped after step ${step}; ${adapterPath} has the adapter so far and a checkpoint`,
  );
  terminal.note(`To go on: graft train --resume${where}`);
}

function printSaved(outcome: TrainOutcome, adapterPath: string, terminal: Terminal): void {
  const best = outcome.parametersOfStep === outcome.step
    ? ""
    : `, of step ${outcome.parametersOfStep} with the lowest validation loss`;
  terminal.print(`Saved the adapter in ${adapterPath}${best}`);
}

function printTest({ loss, accuracy }: TestMetrics, terminal: Terminal): void {
  const share = accuracy === undefined ? "" : `, accuracy ${(accuracy * 100).toFixed(1)}%`;
  terminal.print(`Test loss ${loss.toFixed(4)}${share}, perplexity ${Math.exp(loss).toFixed(3)}`);
}

function notePrefixCache(event: PrefixCacheEvent, terminal: Terminal): void {
  if (event.kind !== "prefix cache opened") {
    return terminal.note(paint(terminal, "yellow", prefixCacheWarning(event)));
  }
  const { path, limitBytes, sequences } = event;
  terminal.note(
    `Frozen layers below the adapter run once a sequence: their output is kept in ${path}, ` +
      `up to ${formatBytes(limitBytes)}` +
      (sequences > 0 ? `; ${formatCount(sequences)} sequences are there` : ""),
  );
}

function prefixCacheWarning(
  event: Exclude<PrefixCacheEvent, { readonly kind: "prefix cache opened" }>,
): string {
  switch (event.kind) {
    case "prefix cache busy":
      return `Nothing is kept of the frozen layers: another run has ${event.path}`;
    case "prefix cache failed":
      return `Nothing is kept of the frozen layers: ${event.reason}`;
    case "prefix cache damaged":
      return `${event.path} was damaged: unreadable rows are computed again`;
    case "prefix cache full":
      return `${event.path} is full at ${formatBytes(event.sizeBytes)}: what is not in it is ` +
        "computed in every epoch; --prefix-cache gives it more room";
    case "prefix cache removed":
      return `Nothing is kept of the frozen layers from here on, and ${event.path} is removed: ` +
        event.reason;
  }
}
