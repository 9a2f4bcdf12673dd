import { assert, assertEquals } from "@std/assert";
import type { PredictedMemory } from "../../src/plan/memory.ts";
import { fitMemory } from "../../src/train/fit_memory.ts";

/** A run of 100 bytes, 10 more a sequence, that can keep 40 a sequence. */
function predict(sequences: number, keepBytes: number): PredictedMemory {
  const savedBytes = Math.min(40 * sequences, keepBytes);
  const temporaryBytes = 10 * sequences;
  const parts = { weightBytes: 60, adapterBytes: 20, baseBytes: 20, savedBytes, temporaryBytes };
  return { ...parts, peakBytes: 100 + temporaryBytes + savedBytes };
}

const ask = { sequences: 8, keepBytes: 1000, mayRecompute: true, predict };

Deno.test("fitMemory() keeps everything where it fits", () => {
  const { fits, sequences, predicted } = fitMemory({ ...ask, budgetBytes: 500 });
  assertEquals([fits, sequences, predicted.peakBytes], [true, 8, 500]);
});

Deno.test("fitMemory() keeps what fits before it takes fewer sequences", () => {
  const { fits, sequences, keepBytes, predicted } = fitMemory({ ...ask, budgetBytes: 300 });
  assertEquals([fits, sequences, keepBytes, predicted.peakBytes], [true, 8, 120, 300]);
});

Deno.test("fitMemory() takes fewer sequences where recomputing is not enough", () => {
  const { fits, sequences, predicted } = fitMemory({ ...ask, budgetBytes: 145 });
  assert(fits && sequences === 4 && predicted.peakBytes <= 145);
});

Deno.test("fitMemory() keeps all for fewer sequences where it may not recompute", () => {
  const found = fitMemory({ ...ask, mayRecompute: false, budgetBytes: 300 });
  assertEquals([found.fits, found.sequences, found.keepBytes], [true, 4, 1000]);
});

Deno.test("fitMemory() gives the smallest choice where nothing fits", () => {
  const { fits, sequences, predicted } = fitMemory({ ...ask, budgetBytes: 100 });
  assertEquals([fits, sequences, predicted.peakBytes], [false, 1, 110]);
});
