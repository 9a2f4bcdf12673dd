import { assertEquals } from "@std/assert";
import { importCycles, importsOf } from "../../scripts/import_cycles.ts";

const graph = (edges: Record<string, string[]>) => new Map(Object.entries(edges));

Deno.test("importCycles() finds each group of files that reach each other, and no other file", () => {
  assertEquals(importCycles(graph({ a: ["b"], b: ["c"], c: [] })), []);
  assertEquals(importCycles(graph({ a: ["b"], b: ["c"], c: ["b", "d"], d: ["x"] })), [["b", "c"]]);
  assertEquals(
    importCycles(graph({ a: ["b"], b: ["a", "c"], c: ["d"], d: ["e"], e: ["c"] })),
    [["c", "d", "e"], ["a", "b"]],
  );
});

Deno.test("importsOf() resolves imports and re-exports of types and values, and leaves out dynamic ones", () => {
  const source = `import type { A } from "../b/a.ts";
import "./side.ts";
export * from "./mod.ts";
await import("../late.ts");
import { x } from "@std/path";
`;
  assertEquals(importsOf("src/c/file.ts", source), [
    "src/b/a.ts",
    "src/c/side.ts",
    "src/c/mod.ts",
  ]);
});
