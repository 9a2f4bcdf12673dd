import { assertEquals } from "@std/assert";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { MicroBatches, positionCost } from "../../src/train/micro_batches.ts";
import type { StepModel, StepOptions } from "../../src/train/step.ts";

/** A model whose loss is the sum of the ids, and which remembers what it was asked. */
class Sums implements StepModel<TokenBatch> {
  readonly parameters = [];
  readonly asked: (readonly [sequences: number, seed?: number])[] = [];
  /** Ids of the batches that were said to come next. */
  readonly upcoming: (readonly number[] | undefined)[] = [];
  constructor(readonly counts: boolean) {}
  #sum(batch: TokenBatch, seed?: number) {
    this.asked.push([batch.inputIds.dims[0], seed]);
    const lossSum = Array.from(toNumbers(batch.inputIds)).reduce((sum, id) => sum + id, 0);
    return { lossSum, targetCount: batch.inputIds.dims[0] };
  }
  accumulate = async (batch: TokenBatch, seed: number, options?: StepOptions<TokenBatch>) => {
    const next = await options?.upcoming?.();
    this.upcoming.push(next && Array.from(toNumbers(next.inputIds), Number));
    return this.#sum(batch, seed);
  };
  evaluate = (batch: TokenBatch) =>
    Promise.resolve({ ...this.#sum(batch), ...(this.counts ? { correct: 1 } : {}) });
  zeroGrad() {}
  [Symbol.dispose]() {}
}

const batch: TokenBatch = {
  inputIds: int64([5, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
  attentionMask: int64([5, 2], new Array(10).fill(1)),
  classIds: [0, 1, 2, 3, 4],
  tokenCount: 10,
};

Deno.test("MicroBatches sums over parts of a batch, each with dropout of its own", async () => {
  const model = new Sums(true);
  const parts = new MicroBatches(model, { tokens: 5 });
  assertEquals(await parts.accumulate(batch, 7), { lossSum: 55, targetCount: 5 });
  assertEquals(model.asked, [[2, 7], [2, 8], [1, 9]]);
  assertEquals(await parts.evaluate(batch), { lossSum: 55, targetCount: 5, correct: 3 });
});

Deno.test("MicroBatches tells of the part that comes next, of the next batch's after the last", async () => {
  const model = new Sums(true);
  const parts = new MicroBatches(model, { tokens: 5 });
  await parts.accumulate(batch, 0);
  assertEquals(model.upcoming.splice(0), [[5, 6, 7, 8], [9, 10], undefined]);
  await parts.accumulate(batch, 0, { upcoming: () => Promise.resolve(batch) });
  assertEquals(model.upcoming, [[5, 6, 7, 8], [9, 10], [1, 2, 3, 4]]);
});

Deno.test("MicroBatches takes whole what it may, else parts of about one size, one sequence at least", async () => {
  for (const [tokens, sizes] of [[10, [5]], [9, [3, 2]], [4, [2, 2, 1]], [1, [1, 1, 1, 1, 1]]]) {
    const model = new Sums(true);
    await new MicroBatches(model, { tokens: tokens as number }).accumulate(batch, 0);
    assertEquals(model.asked.map(([sequences]) => sequences), sizes);
  }
});

Deno.test("MicroBatches gives each of several shards as many sequences, where that may be", async () => {
  for (
    const [shards, tokens, sizes] of [
      [2, 10, [5]], // whole: nothing to cut
      [2, 9, [4, 1]],
      [2, 7, [2, 2, 1]],
      [3, 9, [3, 2]],
      [4, 6, [3, 2]], // fewer than there are shards
    ] as const
  ) {
    const model = new Sums(true);
    await new MicroBatches(model, { tokens }, shards).accumulate(batch, 0);
    assertEquals(model.asked.map(([sequences]) => sequences), sizes, `${shards} shards, ${tokens}`);
  }
});

Deno.test("MicroBatches leaves out what all sequences begin with where that is computed once", async () => {
  // Six tokens each, the first four the same.
  const alike: TokenBatch = {
    inputIds: int64([4, 6], [0, 1, 2, 3].flatMap((s) => [9, 9, 9, 9, s, s])),
    attentionMask: int64([4, 6], new Array(24).fill(1)),
    tokenCount: 24,
  };
  const sizesOf = async (sharesPrefixes: boolean) => {
    const model = new Sums(true);
    await new MicroBatches(model, {
      tokens: 8,
      packing: { packs: false, sharesPrefixes, isCausal: true },
    })
      .accumulate(alike, 0);
    return model.asked.map(([sequences]) => sequences);
  };
  assertEquals(await sizesOf(false), [1, 1, 1, 1]);
  assertEquals(await sizesOf(true), [4]);
});

Deno.test("MicroBatches counts the tokens of sequences whose padding is left out, and half of their places", async () => {
  const lengths = [2, 3, 2, 8];
  const uneven: TokenBatch = {
    inputIds: int64([4, 8], new Array(32).fill(0)),
    attentionMask: int64(
      [4, 8],
      lengths.flatMap((n) => [0, 1, 2, 3, 4, 5, 6, 7].map((t) => Number(t < n))),
    ),
    tokenCount: 15,
  };
  const sizesOf = async (packs: boolean, tokens: number) => {
    const model = new Sums(true);
    const packing = { packs, sharesPrefixes: false, isCausal: false };
    await new MicroBatches(model, { tokens, packing }).accumulate(uneven, 0);
    return model.asked.map(([sequences]) => sequences);
  };
  assertEquals(await sizesOf(false, 16), [2, 2]);
  assertEquals(await sizesOf(true, 16), [4]);
  assertEquals(await sizesOf(true, 15), [2, 2]);
});

Deno.test("positionCost() grows with the places that a place is scored with, unless attention goes by blocks", () => {
  const takes = (length: number, isCausal: boolean, packs = true) =>
    positionCost(length, { packs, isCausal, sharesPrefixes: false });
  assertEquals([16, 64, 96, 512].map((length) => takes(length, false)), [0.5, 0.5, 0.75, 1]);
  assertEquals([16, 64, 128, 512].map((length) => takes(length, true)), [0.5, 0.5, 0.5, 0.5]);
  assertEquals(takes(512, false, false), 1, "padding is computed like any token");
});

Deno.test("MicroBatches counts no right answers where the model counts none", async () => {
  const parts = new MicroBatches(new Sums(false), { tokens: 6 });
  assertEquals(await parts.evaluate(batch), { lossSum: 55, targetCount: 5 });
});

Deno.test("MicroBatches widens the model that it cuts batches for, and says whether that changed it", () => {
  const model: Sums & { widen?(): boolean } = new Sums(true);
  const parts = new MicroBatches(model, { tokens: 2 });
  assertEquals(parts.widen(), false);
  let asked = 0;
  model.widen = () => ++asked === 1;
  assertEquals([parts.widen(), parts.widen(), asked], [true, false, 2]);
});
