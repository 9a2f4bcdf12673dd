import { assertEquals } from "@std/assert";
import { sliceBatch } from "../../src/data/slice_batch.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { inParts, logitRowLimit } from "../../src/eval/in_parts.ts";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";

const _ = -100;

/** Three sequences with 1, 2 and 3 targets, told apart by their ids. */
const batch = (): TokenBatch => ({
  inputIds: int64([3, 4], [11, 12, 0, 0, 21, 22, 23, 0, 31, 32, 33, 34]),
  attentionMask: int64([3, 4], [1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1]),
  labels: [11, 12, _, _, _, 22, 23, _, 31, 32, 33, 34],
  tokenCount: 9,
});

async function firstIds(rowLimit: number): Promise<number[][]> {
  const parts = await Array.fromAsync(inParts([batch(), batch()], rowLimit));
  return parts.map(({ inputIds }) => {
    const ids = Array.from(toNumbers(inputIds), Number);
    return ids.filter((_, i) => i % 4 === 0);
  });
}

Deno.test("inParts() keeps order and every sequence, within the limit where one can", async () => {
  assertEquals(await firstIds(Infinity), [[11, 21, 31], [11, 21, 31]]);
  assertEquals(await firstIds(6), [[11, 21, 31], [11, 21, 31]]);
  assertEquals(await firstIds(5), [[11, 21], [31], [11, 21], [31]]);
  assertEquals(await firstIds(1), [[11], [21], [31], [11], [21], [31]]);
});

Deno.test("sliceBatch() cuts all of a batch's parts alike and counts its tokens", () => {
  const part = sliceBatch({ ...batch(), classIds: [7, 8, 9] }, 1, 2);
  assertEquals(part.inputIds.dims, [1, 4]);
  assertEquals(Array.from(toNumbers(part.attentionMask), Number), [1, 1, 1, 0]);
  assertEquals([part.labels, part.classIds, part.tokenCount], [[_, 22, 23, _], [8], 3]);
  assertEquals(sliceBatch(batch(), 0, 99), batch());
});

Deno.test("logitRowLimit() follows the vocabulary", () => {
  const graph = (vocabulary: number | string) =>
    ({
      outputs: [{ name: "logits", type: { dtype: "float32", shape: ["b", "s", vocabulary] } }],
    }) as unknown as Graph;
  assertEquals(logitRowLimit(graph(1 << 16)), 256);
  assertEquals(logitRowLimit(graph("vocabulary")), Infinity);
});
