import { assertEquals } from "@std/assert";
import { Batches, TokenStore } from "../../src/data/mod.ts";
import { batchShapes } from "../../src/data/largest_batch.ts";

/** Batches of four rows of these lengths, in this order. */
function batchesOf(...lengths: readonly number[][]): Batches {
  const store = new TokenStore();
  for (const length of lengths.flat()) {
    store.append({ ids: new Int32Array(length).fill(1), spans: Int32Array.from([0, length]) });
  }
  const order = { batchSize: 4, order: "in-order", seed: 0, poolBatches: 1 } as const;
  return new Batches(store, { ...order, padId: 0, buckets: [8, 16, 32] });
}

const lengthOf = async (batches: Batches, atOnce = (sequences: number, _: number) => sequences) =>
  (await batchShapes(batches, { atOnce })).largest.inputIds.dims[1];

Deno.test("batchShapes() takes more tokens for larger than more padding", async () => {
  assertEquals(await lengthOf(batchesOf([32, 2, 2, 2], [16, 16, 16, 16])), 16);
  assertEquals(await lengthOf(batchesOf([16, 16, 16, 16], [32, 16, 16, 2])), 32);
});

Deno.test("batchShapes() counts of a batch what runs at once", async () => {
  const batches = batchesOf([32, 32, 32, 32], [16, 16, 16, 16]);
  const atOnce = (sequences: number, length: number) => length > 16 ? 1 : sequences;
  assertEquals(await lengthOf(batches), 32);
  assertEquals(await lengthOf(batches, atOnce), 16);
});

Deno.test("batchShapes() looks into the batches of most tokens for how many of them are computed", async () => {
  const batches = batchesOf([32, 32, 32, 32], [16, 16, 16, 16], [16, 16, 15, 16]);
  const computed = ({ tokenCount }: { tokenCount: number }) => tokenCount === 128 ? 40 : tokenCount;
  const { largest } = await batchShapes(batches, { atOnce: (sequences) => sequences, computed });
  assertEquals(largest.tokenCount, 64);
});

Deno.test("batchShapes() counts places of padding as little as they take", async () => {
  const batches = batchesOf([32, 10, 10, 10], [15, 15, 15, 15]);
  const atOnce = (sequences: number, each: number) => each > 16 ? 1 : sequences;
  const lengthWhere = async (positionCost: number) =>
    (await batchShapes(batches, { atOnce, positionCost: () => positionCost })).largest.inputIds
      .dims[1];
  assertEquals([await lengthWhere(1), await lengthWhere(0.5)], [16, 32]);
});

Deno.test("batchShapes() tells shapes apart by length and tokens", async () => {
  const { shapes } = await batchShapes(
    batchesOf([16, 16, 16, 16], [15, 16, 16, 16], [16, 1, 1, 1], [8, 8, 8, 8]),
    { atOnce: (sequences) => sequences },
  );
  assertEquals(shapes, 3);
});

Deno.test("batchShapes() reads a batch of each shape that a run meets", async () => {
  const batches = batchesOf([16, 16, 16, 16], [15, 16, 16, 16], [8, 8, 8, 8], [32, 1, 1, 1]);
  const lengths = async (most?: number) =>
    (await batchShapes(batches, { atOnce: (sequences) => sequences, most })).samples
      .map(({ inputIds }) => inputIds.dims[1]);
  assertEquals(await lengths(), [16, 8, 32]);
  assertEquals(await lengths(3), [16, 8]);
});
