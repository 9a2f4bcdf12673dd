/** What `graft train` says before the first step: model, data and device, and what was chosen for them. */
import type { DataPart, NumericEvent, PreparationEvent } from "../../finetune/mod.ts";
import { madeOf, megabytes } from "../../model/memory_report.ts";
import { FAST_THRESHOLD, type FastCheck } from "../../train/check_fast.ts";
import { SLICED_LIMIT } from "../../train/check_sliced.ts";
import { noteEncoded } from "./encoded_note.ts";
import { formatCount, formatShare } from "../terminal/format.ts";
import { paint, type Terminal } from "../terminal/output.ts";
import { inFlags } from "../parameter_names.ts";

/** Parts of a data set at the beginning of a line. */
export const PART: Readonly<Record<DataPart, string>> = {
  training: "Training",
  validation: "Validation",
  test: "Test",
};

type Of<Kind extends PreparationEvent["kind"]> = PreparationEvent & { readonly kind: Kind };

/** Prints an event of the preparation. */
export function notePreparation(event: PreparationEvent, terminal: Terminal): void {
  switch (event.kind) {
    case "encoded":
      return noteEncoded(PART[event.part], event.report, event.classes, terminal);
    case "memory":
      return noteMemory(event, terminal);
    case "fast failed":
      return terminal.note(paint(terminal, "yellow", numericSentence(event)));
    case "fast passed":
    case "exact is quicker":
    case "slices passed":
    case "slices failed":
      return terminal.note(numericSentence(event));
    default:
      return terminal.note(sentence(event));
  }
}

function sentence(event: Exclude<PreparationEvent, NumericEvent | Of<"encoded" | "memory">>) {
  switch (event.kind) {
    case "other products":
      return `${
        formatCount(event.count)
      } products with weights of the file are no targets: graft ` +
        `does not see through what prepares them (the first is node "${event.first}")`;
    case "start from weights":
      return `Initialising the adapter of ${formatCount(event.layers)} layers from weights`;
    case "adapter note":
      return event.text;
    case "runtime note":
      return inFlags(event.message);
    case "parameters":
      return `Trainable parameters: ${formatShare(event.trainable / event.all)} ` +
        `(${formatCount(event.trainable)} of ${formatCount(event.all)})`;
    case "integer form changed":
      return `Products in 8-bit integers of the form ${event.from}, in which this run began, ` +
        `saturate on this processor: going on in ${event.to}`;
    case "less memory":
      return "There is less memory than when this run began: it keeps less, and the last bits may differ";
    case "ranks":
      return ranksSentence(event);
    case "stages":
      return "Memory of each rank: about " +
        event.stages.map(({ peakBytes, segments }, rank) =>
          `${megabytes(peakBytes)} at rank ${rank} (${segments} of ${event.segments} segments)`
        ).join(", ");
    case "padding matters":
      return "What the model computes depends on the padding behind a text: each runs by itself, without";
    case "forward differs":
      return `The model ${WAY[event.why]}: the logits of a batch differ by ` +
        formatShare(event.relativeDifference);
    case "provider checked":
      return `${event.runtime}: its gradient of the first batch beside the processor's: ` +
        formatCheck(event);
  }
}

function ranksSentence({ count, stages, library }: Of<"ranks">): string {
  const together = `${count} ranks train together (${library})`;
  if (stages === 1) return `${together}; each computes its rows of a batch`;
  return count === stages
    ? `${together}; each computes its layers`
    : `${together}, in ${
      count / stages
    } pipelines of ${stages}; each computes its layers for the ` +
      "rows of its pipeline";
}

const WAY = {
  "integer activations":
    "rounds activations to integers as it runs; training computes them in floats",
  float16: "computes in 16-bit floats; training computes in 32-bit ones",
} as const;

function numericSentence(event: NumericEvent): string {
  switch (event.kind) {
    case "fast passed": {
      const how = event.rotated ? ", weights of 8 bits rotated and rounded anew" : "";
      return `Numeric setting fast${how}: its gradient of the first sequences beside that of exact: ` +
        formatCheck(event.check);
    }
    case "fast failed":
      return "Numeric setting fast computes another gradient of the first sequences than exact: " +
        `${
          formatCheck(event.check)
        }, and the cosine must be >= ${FAST_THRESHOLD}; going on in exact`;
    case "exact is quicker":
      return `Numeric setting exact is quicker on this device: ${seconds(event.times.exact)} for ` +
        `the first sequences, ${seconds(event.times.fast)} in fast; going on in exact`;
    case "slices passed":
      return "Products with 8-bit weights run in integers, activations in 16 bits: the gradient of " +
        `the first batch beside that in floats: relative error ${formatShare(event.relativeError)}`;
    case "slices failed":
      return "Activations in 16 bits have another gradient of the first batch than floats: " +
        `relative error ${formatShare(event.relativeError)}, and at most ` +
        `${formatShare(SLICED_LIMIT)} is allowed; going on in floats`;
  }
}

const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(2)} s`;

const formatCheck = ({ cosine, relativeError }: Pick<FastCheck, "cosine" | "relativeError">) =>
  `cosine ${cosine.toFixed(4)}, relative error ${formatShare(relativeError)}`;

function noteMemory(
  { predicted, budget, beyondFree, tokensAtOnce, partsAtOnce }: Of<"memory">,
  terminal: Terminal,
): void {
  terminal.note(
    `Memory: about ${megabytes(predicted.peakBytes)} at the peak (${madeOf(predicted)}), ` +
      inFlags(budget.source),
  );
  if (beyondFree !== undefined) {
    terminal.note(
      beyondFree === "swaps"
        ? "  that is more than is free: the system will swap"
        : "  that is more than is free: the system may end the run; without --memory-budget it is " +
          "made to fit, or refused",
    );
  }
  if (tokensAtOnce !== undefined) {
    terminal.note(
      `  batches run ${tokensAtOnce} tokens at a time and add up their gradients, to fit`,
    );
  }
  if (partsAtOnce !== undefined) {
    const divided = partsAtOnce === 1 ? "not divided" : `divided into ${partsAtOnce} parts`;
    terminal.note(`  sequences are ${divided} for the threads, to fit, which is slower`);
  }
}
