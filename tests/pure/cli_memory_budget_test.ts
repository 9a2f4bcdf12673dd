import { assertEquals, assertMatch } from "@std/assert";
import { beyondFree, memoryBudget } from "../../src/cli/memory_budget.ts";

const GB = 1e9;
const there = { freeBytes: 10 * GB, swapBytes: 2 * GB, ownBytes: 1 * GB };

Deno.test("memoryBudget() is a share of what is free, and swap before it refuses", () => {
  const { bytes, mostBytes, source } = memoryBudget(undefined, there);
  assertEquals([bytes, mostBytes], [10 * GB, 12 * GB]);
  assertMatch(source, /free$/);
});

Deno.test("memoryBudget() takes --memory-budget as it is, whatever is free", () => {
  const { bytes, mostBytes, source } = memoryBudget("64G", there);
  assertEquals(mostBytes, bytes);
  assertEquals(bytes > 60 * GB, true);
  assertMatch(source, /^--memory-budget 64G, .* free and .* of swap$/);
});

Deno.test("memoryBudget() bounds nothing where nothing is known", () => {
  const { bytes, mostBytes } = memoryBudget(undefined, { ...there, freeBytes: undefined });
  assertEquals([bytes, mostBytes], [Infinity, Infinity]);
});

Deno.test("beyondFree() tells what swaps from what may be ended, and nothing where there is room", () => {
  assertEquals(beyondFree(10 * GB, there), undefined);
  assertMatch(beyondFree(11 * GB, there) ?? "", /will swap/);
  assertMatch(beyondFree(13 * GB, there) ?? "", /may end the run; without --memory-budget/);
  assertEquals(beyondFree(13 * GB, { ...there, freeBytes: undefined }), undefined);
});
