import { assert, assertEquals } from "@std/assert";
import { longestRepeat } from "../../src/graph/repeats.ts";

const repeat = (text: string, count: number) => longestRepeat([...text], count);

Deno.test("longestRepeat() finds the longest range of one piece again and again", () => {
  assertEquals(repeat("xxabcabcabcabcyz", 4), { start: 2, period: 3, length: 12 });
});

Deno.test("longestRepeat() counts a piece that has begun", () => {
  assertEquals(repeat("xabcabcabcabcaby", 4), { start: 1, period: 3, length: 14 });
});

Deno.test("longestRepeat() takes the shortest piece that the range repeats", () => {
  assertEquals(repeat("abababababababab", 4), { start: 0, period: 2, length: 16 });
});

Deno.test("longestRepeat() of labels that are all equal takes linear time", () => {
  const start = performance.now();
  const labels = new Array(200_000).fill("x");
  assertEquals(longestRepeat(labels, 4), { start: 0, period: 1, length: 200_000 });
  // Comparing every pair takes minutes.
  assert(performance.now() - start < 5000);
});

Deno.test("longestRepeat() finds nothing in fewer repetitions than asked for", () => {
  assertEquals(repeat("xabcabcabcy", 4), undefined);
  assertEquals(repeat("abcdefghij", 2), undefined);
  assertEquals(repeat("", 2), undefined);
});
