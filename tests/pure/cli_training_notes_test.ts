import { assertEquals } from "@std/assert";
import type { Terminal } from "../../src/cli/terminal/output.ts";
import { trainingNotes } from "../../src/cli/train/training_notes.ts";
import type { FineTuneEvent } from "../../src/finetune/mod.ts";
import type { TrainOutcome } from "../../src/train/events.ts";

/** What is printed of an event. */
function linesOf(...events: FineTuneEvent[]): string[] {
  const lines: string[] = [];
  const add = (line: string) => void lines.push(line);
  const terminal: Terminal = {
    ...{ print: add, write: add, note: add, status: add },
    ...{ interactive: false, color: false, columns: 80 },
  };
  const onEvent = trainingNotes({ learningRate: 0.1, patience: 3 }, terminal);
  for (const event of events) onEvent(event);
  return lines;
}

const check = { cosine: 0.98765, relativeError: 0.1234, passed: true };

const NOTES: readonly (readonly [FineTuneEvent, string])[] = [
  [
    { kind: "other products", count: 1200, first: "mix" },
    "1,200 products with weights of the file are no targets: graft does not see through what " +
    'prepares them (the first is node "mix")',
  ],
  [
    { kind: "start from weights", layers: 60 },
    "Initialising the adapter of 60 layers from weights",
  ],
  [{ kind: "parameters", trainable: 5, all: 2000 }, "Trainable parameters: 0.25% (5 of 2,000)"],
  [{ kind: "adapter note", text: "A note" }, "A note"],
  [
    { kind: "runtime note", message: (name) => `as ${name("ep", "cpu")} does` },
    "as --ep cpu does",
  ],
  [
    { kind: "integer form changed", from: "u8s8", to: "u8u8" },
    "Products in 8-bit integers of the form u8s8, in which this run began, saturate on this " +
    "processor: going on in u8u8",
  ],
  [
    { kind: "less memory" },
    "There is less memory than when this run began: it keeps less, and the last bits may differ",
  ],
  [
    { kind: "padding matters" },
    "What the model computes depends on the padding behind a text: each runs by itself, without",
  ],
  [
    { kind: "forward differs", why: "integer activations", relativeDifference: 0.05 },
    "The model rounds activations to integers as it runs; training computes them in floats: the " +
    "logits of a batch differ by 5%",
  ],
  [
    { kind: "forward differs", why: "float16", relativeDifference: 0.001 },
    "The model computes in 16-bit floats; training computes in 32-bit ones: the logits of a batch " +
    "differ by 0.1%",
  ],
  [
    { kind: "provider checked", runtime: "ORT", cosine: 1, relativeError: 0.01 },
    "ORT: its gradient of the first batch beside the processor's: cosine 1.0000, relative error 1%",
  ],
  [
    { kind: "fast passed", rotated: true, check },
    "Numeric setting fast, weights of 8 bits rotated and rounded anew: its gradient of the first " +
    "sequences beside that of exact: cosine 0.9877, relative error 12.3%",
  ],
  [
    { kind: "fast failed", check },
    "Numeric setting fast computes another gradient of the first sequences than exact: cosine 0.9877, " +
    "relative error 12.3%, and the cosine must be >= 0.98; going on in exact",
  ],
  [
    { kind: "exact is quicker", times: { exact: 1234, fast: 2000 } },
    "Numeric setting exact is quicker on this device: 1.23 s for the first sequences, 2.00 s in " +
    "fast; going on in exact",
  ],
  [
    { kind: "slices passed", relativeError: 0.01 },
    "Products with 8-bit weights run in integers, activations in 16 bits: the gradient of the " +
    "first batch beside that in floats: relative error 1%",
  ],
  [
    { kind: "checkpoint ignored", text: "Ignored the checkpoint x: it cannot be read" },
    "Ignored the checkpoint x: it cannot be read",
  ],
  [
    { kind: "started", totalSteps: 4, firstStep: 4 },
    "That was its end: no step is left to train; more --iters or --epochs train on",
  ],
  [
    { kind: "prefix cache opened", path: "a/c", limitBytes: 4e9, sequences: 0 },
    "Frozen layers below the adapter run once a sequence: their output is kept in a/c, up to 4.0 GB",
  ],
  [
    { kind: "prefix cache busy", path: "a/c" },
    "Nothing is kept of the frozen layers: another run has a/c",
  ],
  [
    { kind: "prefix cache full", path: "a/c", sizeBytes: 2e6 },
    "a/c is full at 2 MB: what is not in it is computed in every epoch; --prefix-cache gives it " +
    "more room",
  ],
  [
    { kind: "prefix cache damaged", path: "a/c" },
    "a/c was damaged: unreadable rows are computed again",
  ],
  [
    { kind: "prefix cache removed", path: "a/c", reason: "the disk is full" },
    "Nothing is kept of the frozen layers from here on, and a/c is removed: the disk is full",
  ],
  [
    { kind: "prefix cache failed", reason: "no" },
    "Nothing is kept of the frozen layers: no",
  ],
  [
    { kind: "tested", metrics: { loss: 0.5, accuracy: 0.75 } },
    "Test loss 0.5000, accuracy 75.0%, perplexity 1.649",
  ],
];

for (const [event, line] of NOTES) {
  Deno.test(`trainingNotes() words "${event.kind}": ${line.slice(0, 40)}`, () => {
    assertEquals(linesOf(event), [line]);
  });
}

Deno.test("trainingNotes() words a resume, and settings that are others now", () => {
  const changed = [{ parameter: "lrDecaySteps", now: 9, before: undefined }];
  assertEquals(linesOf({ kind: "resumed", path: "a/step-1", changed: [] }), [
    "Resuming from a/step-1",
  ]);
  assertEquals(linesOf({ kind: "resumed", path: "a/step-1", changed }), [
    "Resuming from a/step-1",
    "Going on with other settings than the run had: --lr-decay-steps 9 (was not given)",
  ]);
});

Deno.test("trainingNotes() words memory, what is beyond the free, and what runs at a time", () => {
  const predicted = {
    ...{ peakBytes: 5e9, weightBytes: 1e9, savedBytes: 2e9, temporaryBytes: 1e9 },
    ...{ adapterBytes: 5e8, baseBytes: 5e8 },
  };
  const budget = { bytes: 5e9, mostBytes: 5e9, source: "8.0 GB free" };
  const memory = { kind: "memory", predicted, budget } as const;
  const first =
    "Memory: about 5,000 MB at the peak (weights 1,000 MB, saved activations 2,000 MB, " +
    "temporaries 1,000 MB, adapter and optimiser 500 MB, graft and runtime 500 MB), 8.0 GB free";
  assertEquals(linesOf(memory), [first]);
  assertEquals(linesOf({ ...memory, beyondFree: "swaps" }), [
    first,
    "  that is more than is free: the system will swap",
  ]);
  assertEquals(linesOf({ ...memory, beyondFree: "may be ended", tokensAtOnce: 64 }), [
    first,
    "  that is more than is free: the system may end the run; without --memory-budget it is made " +
    "to fit, or refused",
    "  batches run 64 tokens at a time and add up their gradients, to fit",
  ]);
  assertEquals(linesOf({ ...memory, partsAtOnce: 1 }), [
    first,
    "  sequences are not divided for the threads, to fit, which is slower",
  ]);
  assertEquals(linesOf({ ...memory, partsAtOnce: 2 }), [
    first,
    "  sequences are divided into 2 parts for the threads, to fit, which is slower",
  ]);
});

Deno.test("trainingNotes() words each way that a run ends", () => {
  const saved = (outcome: TrainOutcome, adapterPath = "out") =>
    linesOf({ kind: "saved", adapterPath, outcome });
  assertEquals(saved({ end: "finished", step: 9, parametersOfStep: 9 }), [
    "Saved the adapter in out",
  ]);
  assertEquals(saved({ end: "stopped early", step: 9, parametersOfStep: 6 }), [
    "Stopped early at step 9: the validation loss has not fallen for 3 evaluations",
    "Saved the adapter in out, of step 6 with the lowest validation loss",
  ]);
  assertEquals(
    saved({ end: "diverged", step: 9, parametersOfStep: 5, reason: "its loss is NaN" }),
    [
      "Stopped at step 9: its loss is NaN. out has the adapter of step 5, the last before its numbers " +
      "went bad; try a lower --learning-rate than 0.1",
    ],
  );
  assertEquals(saved({ end: "interrupted", step: 9, parametersOfStep: 9 }, "my out"), [
    "Stopped after step 9; my out has the adapter so far and a checkpoint",
    "To go on: graft train --resume --adapter-path 'my out'",
  ]);
  assertEquals(
    saved({ end: "interrupted", step: 9, parametersOfStep: 9 }, "adapters").at(-1),
    [
      "To go on: graft train --resume",
    ][0],
  );
});
