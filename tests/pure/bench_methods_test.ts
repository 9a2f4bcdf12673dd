import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { methodsPlot } from "../../src/bench/methods_plot.ts";
import { parseShapes } from "../../src/bench/parse_shapes.ts";
import { UsageError } from "../../src/errors.ts";

Deno.test("parseShapes reads sequences × tokens, and names what it cannot read", () => {
  assertEquals(parseShapes(["1x128", "16×256"]), [
    { batch: 1, length: 128 },
    { batch: 16, length: 256 },
  ]);
  for (const bad of ["", "128", "0x5", "5x0", "-1x5", "1x128x2", "1e3x2", "4096x4096"]) {
    assertThrows(() => parseShapes([bad]), UsageError, `"${bad}"`);
  }
  assertThrows(() => parseShapes([]), UsageError, "shapes");
});

Deno.test("methodsPlot draws a bar of the added time for each method and shape", () => {
  const svg = methodsPlot(["1×128", "16×256"], [
    { name: "lora", ratios: [1.2, 1.1] },
    { name: "<merged>", ratios: [1, 0.95] },
  ]);
  const bars = [
    ...svg.matchAll(/y="([\d.]+)" width="[\d.]+" height="([\d.]+)" fill="[^"]+"><title>([^<]+)/g),
  ]
    .map(([, top, height, title]) => ({ top: Number(top), height: Number(height), title }));
  assertEquals(bars.map(({ title }) => title), [
    "lora, 1×128: 20.0%",
    "lora, 16×256: 10.0%",
    "&lt;merged&gt;, 1×128: 0.0%",
    "&lt;merged&gt;, 16×256: -5.0%",
  ]);
  const [first, second, none, faster] = bars;
  assertEquals(Math.round(first.height / second.height * 10), 20);
  assertEquals(none.height, 0);
  // Added time rises from the line of the base, saved time hangs below it.
  assertEquals(Math.round(first.top + first.height), Math.round(faster.top));
  assertMatch(svg, /<text[^>]*>&lt;merged&gt;<\/text>/);
});
