import { assertEquals } from "@std/assert";
import { firstTargets } from "../../src/data/slice_batch.ts";
import { targetsOf } from "../../src/data/targets.ts";
import { int64 } from "../../src/graph/tensor.ts";

const IGNORED = -100;
const batch = {
  inputIds: int64([3, 4], Array.from({ length: 12 }, (_, i) => i)),
  attentionMask: int64([3, 4], new Array(12).fill(1)),
  labels: [0, 1, 2, IGNORED, 4, IGNORED, IGNORED, 7, 8, 9, 10, 11],
  tokenCount: 12,
};
const of = (count: number) => {
  const part = firstTargets(batch, count);
  return [part.inputIds.dims[0], [...targetsOf(part).labels]];
};

Deno.test("firstTargets() keeps the first targets and the sequences that have them", () => {
  assertEquals(of(1), [1, [1]]);
  assertEquals(of(3), [2, [1, 2, 7]]);
  assertEquals(of(4), [3, [1, 2, 7, 9]]);
  assertEquals(of(99), [3, [1, 2, 7, 9, 10, 11]]);
});
