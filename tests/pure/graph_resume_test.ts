import { assertEquals } from "@std/assert";
import { feedWeights } from "../../src/graph/passes/feed_weights.ts";
import { prune } from "../../src/graph/passes/prune.ts";
import { narrowestPlace, resumeWith } from "../../src/graph/passes/resume.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Graph, Node } from "../../src/graph/types.ts";
import { readsShapes } from "../../src/ops/kinds.ts";

const node = (opType: string, inputs: string[], ...outputs: string[]): Node => ({
  name: outputs[0],
  opType,
  domain: "",
  inputs,
  outputs,
  attributes: {},
});

/** Two residual blocks over a lookup, with a mask that both read. */
const GRAPH: Graph = {
  name: "blocks",
  inputs: [
    { name: "input_ids", type: { dtype: "int64", shape: ["n"] } },
    { name: "mask", type: { dtype: "float32", shape: ["n"] } },
  ],
  outputs: [{ name: "y" }],
  initializers: new Map([
    ["table", float32([256, 2], new Float32Array(512))],
    ["one", float32([1], [1])],
  ]),
  nodes: [
    node("Gather", ["table", "input_ids"], "x0"),
    node("Neg", ["mask"], "bias"),
    node("Relu", ["x0"], "n0"),
    node("Mul", ["n0", "bias"], "m0"),
    node("Add", ["x0", "m0"], "x1"),
    node("Shape", ["x0"], "size"),
    node("Relu", ["x1"], "n1"),
    node("Mul", ["n1", "bias"], "m1"),
    node("Expand", ["m1", "size"], "e1"),
    node("Add", ["x1", "e1"], "x2"),
    node("Add", ["x2", "one"], "y"),
  ],
  valueInfo: new Map(),
};
const SOURCES = new Set(["input_ids"]);

Deno.test("narrowestPlace() finds the last place where least is live, masks aside", () => {
  assertEquals(narrowestPlace(GRAPH, ["n0"], ["n1"], SOURCES, readsShapes), {
    position: 6,
    live: ["x1"],
  });
  // Of what lies between these, the residual stream and the branch are live.
  assertEquals(narrowestPlace(GRAPH, ["n0"], ["m0"], SOURCES, readsShapes)?.live, ["x0", "n0"]);
});

Deno.test("narrowestPlace() knows no place where what is next comes first", () => {
  assertEquals(narrowestPlace(GRAPH, ["n1"], ["n0"], SOURCES, readsShapes), undefined);
});

Deno.test("resumeWith() leaves what still must be computed, shapes of earlier values included", () => {
  const type = { dtype: "float32", shape: [3, 2] } as const;
  const resumed = prune(resumeWith(GRAPH, new Map([["x1", type]])));
  assertEquals(resumed.inputs.map(({ name }) => name), ["input_ids", "mask", "x1"]);
  assertEquals(
    resumed.nodes.flatMap(({ outputs }) => outputs),
    ["x0", "bias", "size", "n1", "m1", "e1", "x2", "y"],
  );
});

Deno.test("feedWeights() makes inputs of large initializers and leaves small ones", () => {
  const { graph, weights } = feedWeights(GRAPH);
  assertEquals([...weights.keys()], ["table"]);
  assertEquals([...graph.initializers.keys()], ["one"]);
  assertEquals(graph.inputs.at(-1), {
    name: "table",
    type: { dtype: "float32", shape: [256, 2] },
  });
});
