import { assertEquals, assertMatch } from "@std/assert";
import { asFlag } from "../../src/config/parameter.ts";
import { worded } from "../../src/errors.ts";
import { beyondFree, memoryBudget } from "../../src/finetune/memory_budget.ts";

const GB = 1e9;
const there = { freeBytes: 10 * GB, swapBytes: 2 * GB, ownBytes: 1 * GB };

Deno.test("memoryBudget() is a share of what is free, and swap before it refuses", () => {
  const { bytes, mostBytes, source } = memoryBudget(undefined, there);
  assertEquals([bytes, mostBytes], [10 * GB, 12 * GB]);
  assertMatch(worded(source), /free$/);
});

Deno.test("memoryBudget() takes memoryBudget as it is, whatever is free", () => {
  const { bytes, mostBytes, source } = memoryBudget("64G", there);
  assertEquals(mostBytes, bytes);
  assertEquals(bytes > 60 * GB, true);
  assertMatch(worded(source), /^memoryBudget: 64G, .* free and .* of swap$/);
  assertMatch(worded(source, asFlag), /^--memory-budget 64G, .* free and .* of swap$/);
});

Deno.test("memoryBudget() bounds nothing where nothing is known", () => {
  const { bytes, mostBytes } = memoryBudget(undefined, { ...there, freeBytes: undefined });
  assertEquals([bytes, mostBytes], [Infinity, Infinity]);
});

Deno.test("beyondFree() tells what swaps from what may be ended, and nothing where there is room", () => {
  assertEquals(beyondFree(10 * GB, there), undefined);
  assertEquals(beyondFree(11 * GB, there), "swaps");
  assertEquals(beyondFree(13 * GB, there), "may be ended");
  assertEquals(beyondFree(13 * GB, { ...there, freeBytes: undefined }), undefined);
});
