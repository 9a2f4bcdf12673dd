import { assertEquals } from "@std/assert";
import { piecesOf } from "../../src/graph/pieces.ts";
import { float32, int64 } from "../../src/graph/tensor.ts";
import { isRandom } from "../../src/ops/kinds.ts";
import { tinyModel } from "../helpers/ort.ts";

const weight = float32([2, 2], [1, 2, 3, 4]); // 16 bytes

const { graph } = tinyModel({
  inputs: { x: ["float32", [2, 2]] },
  outputs: { y: ["float32", [2, 2]] },
  nodes: [
    ["Constant", [], ["shape"], { value: { kind: "tensor", value: int64([2], [2, 2]) } }],
    ["MatMul", ["x", "w1"], ["a"]],
    ["Reshape", ["a", "shape"], ["b"]],
    ["MatMul", ["b", "w2"], ["c"]],
    ["Add", ["c", "a"], ["d"]],
    ["MatMul", ["d", "w3"], ["e"]],
    ["Reshape", ["e", "shape"], ["y"]],
  ],
  initializers: { w1: weight, w2: weight, w3: weight },
});

const outline = (weightBytes: number, wanted = ["y"]) =>
  piecesOf(graph, weightBytes, wanted, isRandom).map(({ nodes, reads, makes, initializers }) => ({
    nodes: nodes.map(({ outputs }) => outputs[0]).join(),
    reads: reads.join(),
    makes: makes.join(),
    weights: [...initializers.keys()].join(),
  }));

Deno.test("piecesOf() cuts where the next weight would be too much, and says what passes", () =>
  assertEquals(outline(32), [
    { nodes: "shape,a,b,c,d", reads: "x", makes: "d", weights: "w1,w2" },
    { nodes: "shape,e,y", reads: "d", makes: "y", weights: "w3" },
  ]));

Deno.test("piecesOf() gives a weight that is too large by itself a piece, and passes what is wanted", () =>
  assertEquals(outline(1, ["y", "b"]), [
    { nodes: "shape,a,b", reads: "x", makes: "a,b", weights: "w1" },
    { nodes: "c,d", reads: "b,a", makes: "d", weights: "w2" },
    { nodes: "shape,e,y", reads: "d", makes: "y", weights: "w3" },
  ]));

Deno.test("piecesOf() keeps a graph whole that has room", () =>
  assertEquals(outline(48), [
    { nodes: "shape,a,b,c,d,e,y", reads: "x", makes: "y", weights: "w1,w2,w3" },
  ]));

Deno.test("piecesOf() passes what a branch reads of the graph around it", () => {
  const chosen = tinyModel({
    inputs: {},
    outputs: { chosen: ["float32", [2, 2]] },
    nodes: [["MatMul", ["a", "w2"], ["chosen"]]],
  });
  const branch = { kind: "graph", value: chosen.graph } as const;
  const { graph } = tinyModel({
    inputs: { x: ["float32", [2, 2]], which: ["bool", []] },
    outputs: { y: ["float32", [2, 2]] },
    nodes: [
      ["MatMul", ["x", "w1"], ["a"]],
      ["If", ["which"], ["y"], { then_branch: branch, else_branch: branch }],
    ],
    initializers: { w1: weight, w2: weight },
  });
  const [, second] = piecesOf(graph, 16, ["y"], isRandom);
  assertEquals(second.reads.toSorted(), ["a", "which"]);
  assertEquals([...second.initializers.keys()], ["w2"]);
});

Deno.test("piecesOf() computes in each piece what it reads of values that nothing that enters changes", () => {
  const { graph } = tinyModel({
    inputs: { x: ["float32", [2, 2]] },
    outputs: { y: ["float32", [2, 2]] },
    nodes: [
      ["Mul", ["w1", "factor"], ["scaled1"]],
      ["Mul", ["w2", "factor"], ["scaled2"]],
      ["RandomUniform", [], ["noise"]],
      ["MatMul", ["x", "scaled1"], ["a"]],
      ["Add", ["a", "noise"], ["b"]],
      ["MatMul", ["b", "scaled2"], ["c"]],
      ["Add", ["c", "noise"], ["y"]],
    ],
    initializers: { w1: weight, w2: weight, factor: float32([1], [2]) },
  });
  const pieces = piecesOf(graph, 20, ["y"], isRandom).map(({ nodes, reads, initializers }) => ({
    nodes: nodes.map(({ outputs }) => outputs[0]).join(),
    reads: reads.join(),
    weights: [...initializers.keys()].join(),
  }));
  assertEquals(pieces, [
    { nodes: "scaled1,noise,a,b", reads: "x", weights: "w1,factor" },
    { nodes: "scaled2,c,y", reads: "b,noise", weights: "w2,factor" },
  ]);
});
