import { assertEquals } from "@std/assert";
import { isWithinReach } from "../../src/lora/merge/within_reach.ts";

Deno.test("isWithinReach() expects a fifth of the gain of labels, a twentieth of a teacher", () => {
  const missing = (share: number) => ({ kept: 0.9, keptBefore: undefined, aim: 0.9 + share });
  assertEquals([0.19, 0.21].map((share) => isWithinReach("fitted", missing(share))), [true, false]);
  assertEquals([0.04, 0.06].map((share) => isWithinReach("rounded", missing(share))), [
    true,
    false,
  ]);
});

Deno.test("isWithinReach() expects as much as the round before has brought", () => {
  const after = (keptBefore: number) =>
    isWithinReach("rounded", { kept: 0.9, keptBefore, aim: 0.995 });
  assertEquals([after(0.8), after(0.85), after(0.95)], [true, false, false]);
});
