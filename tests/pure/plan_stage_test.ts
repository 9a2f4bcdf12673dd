import { assertEquals } from "@std/assert";
import { divideSegments } from "../../src/plan/stage.ts";

Deno.test("divideSegments() makes the largest load as small as it can be, the first ranges short", () => {
  const ends = (loads: readonly number[], stages: number) =>
    divideSegments(loads, stages)?.map(({ to }) => to);
  assertEquals(ends([1, 1, 1, 1, 1, 1], 3), [2, 4, 6]);
  assertEquals(ends([1, 1, 1, 1, 4], 2), [4, 5]);
  assertEquals(ends([5, 1, 1, 1, 1, 1], 2), [1, 6]);
  assertEquals(ends([1, 1, 1, 1, 1], 2), [2, 5]);
  assertEquals(ends([3, 1], 2), [1, 2]);
  assertEquals(ends([3, 1], 3), undefined);
  assertEquals(divideSegments([1, 2, 3], 1), [{ from: 0, to: 3, count: 3 }]);
});
