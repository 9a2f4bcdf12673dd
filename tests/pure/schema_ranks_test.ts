// ONNX Runtime ends the process where it indexes a dimension that is not there.
import { assertEquals } from "@std/assert";
import { int, ints } from "../../src/graph/attributes.ts";
import { partialShapes } from "../../src/ops/schema/partial_shapes.ts";
import { guardRanks } from "../../src/ops/schema/guard_ranks.ts";
import { rankProblem } from "../../src/ops/schema/ranks.ts";
import { float32, int64 } from "../../src/graph/tensor.ts";
import type { Graph, Model } from "../../src/graph/types.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";

const ATTENTION = "com.microsoft.GroupQueryAttention";

/** Attention over packed inputs, whose value `positions` is made by `nodes` of ids [batch, tokens]. */
function attention(...nodes: readonly TinyNode[]): Model {
  const inputs = ["packed", "", "", "", "", "last", "total", "cos", "sin", "positions"];
  return tinyModel({
    inputs: {
      packed: ["float32", ["batch", "tokens", 32]],
      ids: ["int64", ["batch", "tokens"]],
      last: ["int32", ["batch"]],
      total: ["int32", []],
    },
    outputs: { y: ["float32", ["batch", "tokens", 16]] },
    initializers: {
      cos: float32([4, 8], new Float32Array(32)),
      sin: float32([4, 8], new Float32Array(32)),
      scalar: int64([], [0]),
      list: int64([1], [0]),
      two: int64([1], [2]),
    },
    nodes: [
      ...nodes,
      [ATTENTION, inputs, ["y"], { num_heads: int(1), kv_num_heads: int(1), do_rotary: int(1) }],
    ],
  });
}

const positions = (operator: string, inputs: string[], attributes: TinyNode[3] = {}): TinyNode => [
  operator,
  inputs,
  ["positions"],
  attributes,
];

const problemOf = (...nodes: readonly TinyNode[]) => rankProblem(attention(...nodes).graph);

for (
  const [what, rank, ...nodes] of [
    ["a scalar", 0, positions("Identity", ["scalar"])],
    ["a list", 1, positions("Identity", ["list"])],
    ["what is picked from a list", 0, positions("Gather", ["list", "scalar"])],
    ["a sum of all", 0, positions("ReduceSum", ["ids"], { keepdims: int(0) })],
    ["a computed list", 1, positions("Shape", ["ids"])],
    ["what is shaped by a list", 1, positions("Reshape", ["ids", "list"])],
    ["what is squeezed", 1, positions("Squeeze", ["ids", "list"])],
  ] as [string, number, ...TinyNode[]][]
) {
  Deno.test(`rankProblem() refuses ${what} as positions, naming node, input and value`, () => {
    const found = problemOf(...nodes) ?? "";
    const expected =
      `node 1 (${ATTENTION} "node1"): input 9 (position_ids) must have 2 dimensions: ` +
      `"positions" has ${rank}`;
    assertEquals(found, expected);
  });
}

Deno.test("rankProblem() accepts what has the operator's dimensions, or may have them", () => {
  const sound = [
    [positions("Identity", ["ids"])],
    [positions("Add", ["ids", "scalar"])],
    [positions("Expand", ["scalar", "shape"]), ["Shape", ["ids"], ["shape"]]],
    [["Reshape", ["ids", "list"], ["flat"]], positions("Unsqueeze", ["flat", "list"])],
    [positions("Loop", ["scalar", ""])],
  ] as TinyNode[][];
  for (const nodes of sound) assertEquals(problemOf(...nodes.toReversed()), undefined);
});

/** One node over an input of some dimensions. */
const overShape = (dims: number[], operator: string, inputs: string[], attributes: TinyNode[3]) =>
  tinyModel({
    inputs: { x: ["float32", dims], w: ["float32", [2, 2]] },
    outputs: { y: ["float32", ["n"]] },
    nodes: [[operator, inputs, ["y"], attributes]],
  }).graph;

const einsum = (equation: string, dims: number[]) =>
  overShape(dims, "Einsum", ["x", "w"], { equation: { kind: "string", value: equation } });

for (
  const [what, graph, problem] of [
    ["an Einsum of other terms", einsum("ij,jk->ik", [2]), "must have 2 dimensions"],
    ["an Einsum of too few", einsum("...ij,jk", [2]), "must have 2 to 8 dimensions"],
    ["an LSTM", overShape([2, 2], "LSTM", ["x", "w", "w"], {}), "(X) must have 3"],
    ["a convolution", overShape([2], "ConvInteger", ["x", "w"], {}), "(X) must have 3 to 8"],
    [
      "attention without keys",
      overShape([1, 2, 2], "com.microsoft.MultiHeadAttention", ["x"], {}),
      "(query) must have 5",
    ],
  ] as const
) {
  Deno.test(`rankProblem() refuses ${what} over a value of other dimensions`, () => {
    assertEquals(rankProblem(graph)?.includes(problem), true, rankProblem(graph));
  });
}

Deno.test("rankProblem() accepts an Einsum of any number of leading dimensions", () => {
  const sound = [einsum("ij,jk->ik", [2, 2]), einsum("... i j, jk", [3, 4, 2, 2])];
  for (const graph of sound) assertEquals(rankProblem(graph), undefined);
});

Deno.test("rankProblem() looks into branches, where values of the graph around them are known", () => {
  const { graph } = attention(positions("Identity", ["scalar"]));
  const branch: Graph = { ...graph, inputs: [], initializers: new Map() };
  const outer: Graph = {
    ...graph,
    nodes: [{
      name: "choice",
      opType: "If",
      domain: "",
      inputs: ["scalar"],
      outputs: ["y"],
      attributes: { then_branch: { kind: "graph", value: branch } },
    }],
  };
  assertEquals(rankProblem(outer)?.includes("position_ids"), true);
});

Deno.test("partialShapes() does not believe what a file says of computed values", () => {
  const { graph } = attention(positions("Loop", ["scalar", ""]));
  const valueInfo = new Map([["positions", {
    name: "positions",
    type: { dtype: "int64" as const, shape: [1, 1] },
  }]]);
  assertEquals(partialShapes({ ...graph, valueInfo }).has("positions"), false);
});

Deno.test("partialShapes() knows how many dimensions shape arithmetic makes", () => {
  const { graph } = tinyModel({
    inputs: { x: ["float32", ["batch", 4, 8]] },
    outputs: { z: ["float32", ["a", "b", "c", "d"]] },
    initializers: { zero: int64([1], [0]), two: int64([1], [2]), rest: int64([1], [-1]) },
    nodes: [
      ["Shape", ["x"], ["shape"]],
      ["Slice", ["shape", "zero", "two"], ["front"]],
      ["Concat", ["front", "two", "rest"], ["sizes"], { axis: int(0) }],
      ["Reshape", ["x", "sizes"], ["z"]],
      ["Transpose", ["z"], ["t"], { perm: ints([0, 2, 1, 3]) }],
      ["Gather", ["t", "two"], ["g"], { axis: int(1) }],
      ["ReduceMean", ["g"], ["r"], { axes: ints([1, 2]), keepdims: int(0) }],
    ],
  });
  const shapes = partialShapes(graph);
  const ranks = ["shape", "front", "sizes", "z", "t", "g", "r"].map((name) =>
    shapes.get(name)?.length
  );
  assertEquals(ranks, [1, 1, 1, 4, 4, 4, 2]);
  assertEquals(shapes.get("sizes"), [4]);
});

Deno.test("guardRanks() changes a model only where a rank is not known", () => {
  const known = attention(positions("Identity", ["ids"]));
  assertEquals(guardRanks(known) === known, true);
  const unknown = guardRanks(attention(positions("Loop", ["scalar", ""])));
  assertEquals(unknown.graph.nodes.map(({ opType }) => opType), [
    "Loop",
    "Unsqueeze",
    "Squeeze",
    "GroupQueryAttention",
  ]);
});
