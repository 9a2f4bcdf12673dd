import { assertEquals } from "@std/assert";
import { brokenLimits } from "../../scripts/figures/limits.ts";

Deno.test("brokenLimits() says nothing of figures that keep their limits or have none", () => {
  const figures = { seconds: 0.3, glibc: "2.28", canRun: true, other: 9 };
  const limits = { seconds: { atMost: 0.3 }, glibc: { release: "2.28" }, canRun: { is: true } };
  assertEquals(brokenLimits(figures, limits), []);
});

Deno.test("brokenLimits() names figure, limit and value", () => {
  const figures = { seconds: 0.31, glibc: "2.31", older: "2.4", canRun: false };
  const limits = {
    seconds: { atMost: 0.3 },
    glibc: { release: "2.28" },
    older: { release: "2.28" },
    canRun: { is: true },
  };
  assertEquals(brokenLimits(figures, limits), [
    "seconds must be at most 0.3: current value is 0.31",
    "glibc must be at most 2.28: current value is 2.31",
    "canRun must be true: current value is false",
  ]);
});

Deno.test("brokenLimits() takes a figure that is missing or no number for broken", () => {
  const limits = { a: { atMost: 1 }, b: { atMost: 1 } };
  assertEquals(brokenLimits({ a: NaN }, limits), [
    "a must be at most 1: current value is NaN",
    "b must be at most 1: current value is undefined",
  ]);
});
