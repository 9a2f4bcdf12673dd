import { assertEquals, assertRejects } from "@std/assert";
import type { TokenBatch } from "../../src/data/targets.ts";
import { UsageError } from "../../src/errors.ts";
import { int64 } from "../../src/graph/tensor.ts";
import { firstBatch, firstBatches } from "../../src/train/first_batch.ts";

/** Batches of so many sequences of one token, 0 for one without rows in this process. */
function sourceOf(sequences: readonly number[]) {
  const read: number[] = [];
  const batch = (_epoch: number, index: number): Promise<TokenBatch> => {
    read.push(index);
    const rows = sequences[index];
    const ones = int64([rows, 1], Array(rows).fill(1));
    return Promise.resolve({ inputIds: ones, attentionMask: ones, tokenCount: rows });
  };
  return { read, source: { batches: () => sequences.length, batch } };
}

Deno.test("firstBatch() is the first with a row in it", async () => {
  const { read, source } = sourceOf([0, 3, 4]);
  assertEquals((await firstBatch(source)).tokenCount, 3);
  assertEquals(read, [0, 1]);
});

Deno.test("firstBatches() reads as many as have the sequences asked for", async () => {
  const { read, source } = sourceOf([4, 0, 4, 4, 4]);
  const found = await firstBatches(source, 10);
  assertEquals([found.map(({ tokenCount }) => tokenCount), read], [[4, 4, 4], [0, 1, 2, 3]]);
  assertEquals((await firstBatches(sourceOf([2, 2]).source, 10)).length, 2);
});

Deno.test("firstBatches() without a row says what to do", async () => {
  await assertRejects(() => firstBatches(sourceOf([0, 0]).source, 10), UsageError, "fewer ranks");
});
