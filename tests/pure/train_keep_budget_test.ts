import { assertEquals } from "@std/assert";
import { keepBudget } from "../../src/train/keep_budget.ts";

const GB = 2 ** 30;

Deno.test("keepBudget() keeps four times the model, within a quarter of the free memory", () => {
  assertEquals(keepBudget(undefined, GB, 100 * GB), 4 * GB);
  assertEquals(keepBudget(undefined, GB, 4 * GB), GB);
});

Deno.test("keepBudget() keeps twice the model's size in fast", () => {
  assertEquals(keepBudget(undefined, GB, 100 * GB, "fast"), 2 * GB);
  assertEquals(keepBudget(undefined, GB, 2 * GB, "fast"), 0.5 * GB);
});

Deno.test("keepBudget() keeps less of sequences beyond 1,024 tokens, by the square of their length", () => {
  assertEquals(keepBudget(undefined, GB, 100 * GB, "exact", 1024), 4 * GB);
  assertEquals(keepBudget(undefined, GB, 100 * GB, "exact", 4096), GB / 4);
  assertEquals(keepBudget(undefined, GB, 100 * GB, "fast", 2048), GB / 2);
  assertEquals(keepBudget(false, GB, 0, "exact", 4096), Number.MAX_SAFE_INTEGER);
});

Deno.test("keepBudget() keeps nothing where nothing says how much is free", () => {
  assertEquals(keepBudget(undefined, GB, undefined), 0);
});

Deno.test("keepBudget() does as --grad-checkpoint says", () => {
  assertEquals(keepBudget(true, GB, 100 * GB), 0);
  assertEquals(keepBudget(false, GB, 0), Number.MAX_SAFE_INTEGER);
});
