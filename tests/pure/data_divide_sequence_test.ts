import { assert, assertEquals } from "@std/assert";
import { divideSequence, spanEnds } from "../../src/data/divide_sequence.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import { batchOf, rowsOf } from "../helpers/training_step.ts";

Deno.test("spanEnds() gives later spans fewer tokens, so that each takes about as long", () => {
  const keyTakes = 1 / 576;
  const ends = spanEnds(1024, 3, keyTakes);
  assertEquals(ends.at(-1), 1024);
  const sizes = ends.map((end, i) => end - (ends[i - 1] ?? 0));
  assert(sizes[0] > sizes[1] && sizes[1] > sizes[2], `${sizes}`);
  const times = ends.map((end, i) => {
    const from = ends[i - 1] ?? 0;
    return end - from + keyTakes * (end ** 2 - from ** 2) / 2;
  });
  assert(Math.max(...times) / Math.min(...times) < 1.05, `${times}`);
});

Deno.test("spanEnds() leaves a sequence whole that is too short for so many spans", () => {
  assertEquals(spanEnds(31, 2, 1 / 64), [31]);
  assertEquals(spanEnds(32, 2, 1 / 64).length, 2);
});

Deno.test("spanEnds() puts no end behind another's, however many spans a short sequence has", () => {
  for (const [length, count] of [[64, 4], [96, 6], [200, 12], [4096, 12]]) {
    const ends = spanEnds(length, count, 1 / 64);
    const rising = ends.every((end, i) => end > (ends[i - 1] ?? 0));
    assert(rising && ends.at(-1) === length, `${length} in ${count}: ${ends}`);
  }
});

Deno.test("divideSequence() gives each target to the span of the token that predicts it", () => {
  const row = { ...rowsOf([90])[0], prompt: 20 };
  const batch = batchOf([row], 96, "causal");
  const spans = divideSequence(batch, [32, 64, 96], (count) => count + 3);
  assertEquals(spans.map(({ from, batch }) => [from, batch.inputIds.dims[1]]), [
    [0, 32],
    [32, 64],
    [64, 96],
  ]);
  // Token 19 predicts the first target, token 88 the last.
  assertEquals(spans.map(({ targets }) => targets.count), [13, 32, 25]);
  for (const { from, targets } of spans) {
    for (let i = 0; i < targets.rows; i++) {
      const position = targets.positions![i];
      assertEquals(targets.weights[i], i < targets.count ? 1 : 0);
      if (i < targets.count) assertEquals(targets.labels[i], row.ids[position + 1]);
      else assertEquals(position, from);
    }
  }
  assertEquals(toNumbers(spans[0].batch.inputIds).length, 32);
});
