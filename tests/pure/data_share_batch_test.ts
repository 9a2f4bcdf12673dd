import { assert, assertEquals } from "@std/assert";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import { shareBatch } from "../../src/data/share_batch.ts";
import type { TokenBatch } from "../../src/data/targets.ts";

const LENGTH = 8;

/** Sequences of the given lengths; the ids of the s-th are 10 s, 10 s + 1 … */
function batchOf(lengths: readonly number[]): TokenBatch {
  const cells = <T>(value: (s: number, t: number) => T, padding: T) =>
    lengths.flatMap((length, s) =>
      Array.from({ length: LENGTH }, (_, t) => t < length ? value(s, t) : padding)
    );
  const dims = [lengths.length, LENGTH];
  return {
    inputIds: int64(dims, cells((s, t) => 10 * s + t, 0)),
    attentionMask: int64(dims, cells(() => 1, 0)),
    tokenTypeIds: int64(dims, cells((s) => s, 0)),
    labels: cells((s, t) => 100 * s + t, -100),
    classIds: lengths.map((_, s) => s),
    tokenCount: lengths.reduce((sum, length) => sum + length, 0),
  };
}

const numbers = (value: TokenBatch["inputIds"]) => Array.from(toNumbers(value), Number);

Deno.test("shareBatch() gives each part as many sequences and about as many tokens, all of a sequence's", () => {
  const batch = batchOf([8, 1, 7, 2, 3, 6]);
  const parts = shareBatch(batch, 2);
  assertEquals(parts.map(({ classIds }) => classIds), [[0, 3, 4], [1, 2, 5]]);
  assertEquals(parts.map(({ tokenCount }) => tokenCount), [13, 14]);
  for (const part of parts) {
    assertEquals(part.inputIds.dims, [3, LENGTH]);
    for (const [r, row] of Array.from(part.classIds!).entries()) {
      const own = (values: ArrayLike<number>, s: number) =>
        Array.from(values).slice(s * LENGTH, (s + 1) * LENGTH);
      for (const key of ["inputIds", "attentionMask", "tokenTypeIds"] as const) {
        assertEquals(own(numbers(part[key]!), r), own(numbers(batch[key]!), row), key);
      }
      assertEquals(own(part.labels!, r), own(batch.labels!, row));
    }
  }
});

Deno.test("shareBatch() leaves a batch whole that does not divide into parts of about one size", () => {
  for (
    const [lengths, shares] of [
      [[8], 2], // too few sequences
      [[8, 8, 8], 2], // two threads would wait for a third of the time
      [[8, 1, 1, 1], 2], // one sequence is longer than all others
      [[8, 8, 8, 8], 1],
    ] as const
  ) {
    const batch = batchOf(lengths);
    const parts = shareBatch(batch, shares);
    assertEquals(parts.length, 1, `${lengths} among ${shares}`);
    assert(parts[0] === batch);
  }
});

Deno.test("shareBatch() of more sequences than parts differs by one sequence at most", () => {
  const parts = shareBatch(batchOf([4, 5, 4, 5, 4, 5, 4, 5, 4, 5, 4]), 2);
  assertEquals(parts.map(({ inputIds }) => inputIds.dims[0]), [6, 5]);
});

Deno.test("shareBatch() counts once what a part's sequences begin with, and brings together what begins alike", () => {
  const begins = [1, 2, 2, 1].map((first) => new Array(6).fill(first));
  const lengths = [8, 8, 7, 7];
  const batch = {
    ...batchOf(lengths),
    tokenTypeIds: undefined,
    inputIds: int64(
      [4, LENGTH],
      lengths.flatMap((length, s) =>
        Array.from({ length: LENGTH }, (_, t) => begins[s][t] ?? (t < length ? 10 * s + t : 0))
      ),
    ),
  };
  const partsOf = (sharesPrefixes: boolean) =>
    shareBatch(batch, 2, sharesPrefixes).map(({ classIds }) => classIds);
  assertEquals(partsOf(true), [[0, 3], [1, 2]]);
  assertEquals(partsOf(false), [[0, 2], [1, 3]]);
});

Deno.test("shareBatch() leaves a batch whole where all parts would compute what it begins with", () => {
  // Of 28 tokens 10 are computed by one, 16 by two.
  const batch = {
    ...batchOf([7, 7, 7, 7]),
    tokenTypeIds: undefined,
    inputIds: int64([4, LENGTH], [0, 1, 2, 3].flatMap((s) => [9, 9, 9, 9, 9, 9, s, 0])),
  };
  assertEquals(shareBatch(batch, 2, true).length, 1);
  assertEquals(shareBatch(batch, 2).length, 2);
});

Deno.test("shareBatch() exchanges sequences where taking the longest first leaves uneven parts", () => {
  // The longest first: 8 + 4 + 4 and 7 + 5 + 2.
  const parts = shareBatch(batchOf([8, 7, 5, 4, 4, 2]), 2);
  assertEquals(parts.map(({ tokenCount }) => tokenCount), [15, 15]);
});
