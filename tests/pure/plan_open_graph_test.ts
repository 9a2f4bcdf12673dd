import { assert, assertEquals } from "@std/assert";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { constantsFor, openGraph, SizedGraph } from "../../src/plan/open_graph.ts";

/** x [rows, width] as [rows, ...shape], then added to itself. */
function reshaping(rows: number, width: number, ...shape: number[]): SizedGraph {
  const node = (opType: string, inputs: string[], output: string) => ({
    name: output,
    opType,
    domain: "",
    inputs,
    outputs: [output],
    attributes: {},
  });
  const graph: Graph = {
    name: "step",
    inputs: [{ name: "i0", type: { dtype: "float32", shape: [rows, width] } }],
    outputs: [{ name: "v1", type: { dtype: "float32", shape: [rows, ...shape] } }],
    initializers: new Map([["c0", int64([1 + shape.length], [rows, ...shape])]]),
    nodes: [node("Reshape", ["i0", "c0"], "v0"), node("Add", ["v0", "v0"], "v1")],
    valueInfo: new Map(),
  };
  return new SizedGraph(graph);
}

Deno.test("openGraph() leaves open what differs, and that alone", () => {
  const open = openGraph(reshaping(2, 6, 2, 3), reshaping(3, 6, 2, 3))!;
  const shapes = [...open.graph.inputs, ...open.graph.outputs, ...open.graph.valueInfo.values()]
    .map(({ name, type }) => [name, type!.shape]);
  assertEquals(shapes, [
    ["i0", ["size0", 6]],
    ["c0", [3]],
    ["v1", ["size0", 2, 3]],
    ["v0", ["size0", 2, 3]],
  ]);
  assertEquals(open.graph.initializers.size, 0);
});

Deno.test("openGraph() embeds constants that are equal in both", () => {
  const open = openGraph(reshaping(2, 6, 2, 3), reshaping(2, 6, 2, 3))!;
  assertEquals([...open.graph.initializers.keys()], ["c0"]);
  assertEquals(open.graph.inputs.map(({ name }) => name), ["i0"]);
});

Deno.test("openGraph() opens nothing where the ranks differ", () => {
  assertEquals(openGraph(reshaping(2, 6, 2, 3), reshaping(2, 6, 6)), undefined);
});

Deno.test("constantsFor() gives a third size's constants, and refuses what was not left open", () => {
  const open = openGraph(reshaping(2, 6, 2, 3), reshaping(3, 6, 2, 3))!;
  const constants = constantsFor(open, reshaping(5, 6, 2, 3));
  assertEquals([...constants ?? []].map(([name, value]) => [name, [...toNumbers(value)]]), [
    ["c0", [5, 2, 3]],
  ]);
  assertEquals(constantsFor(open, reshaping(5, 6, 3, 2)), undefined);
  assertEquals(constantsFor(open, reshaping(5, 8, 4, 2)), undefined);
});

Deno.test("constantsFor() refuses two sizes for one name", () => {
  // Width and rows are one size in both graphs that it was made of.
  const open = openGraph(reshaping(2, 2, 1, 2), reshaping(3, 3, 1, 3))!;
  assert(constantsFor(open, reshaping(4, 4, 1, 4)) !== undefined);
  assertEquals(constantsFor(open, reshaping(4, 5, 1, 5)), undefined);
});
