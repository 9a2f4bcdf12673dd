import { assertEquals, assertMatch } from "@std/assert";
import { scaleProblem } from "../../src/ops/schema/scales.ts";
import { float32, type Tensor } from "../../src/graph/tensor.ts";
import { type Attribute, type Graph, MICROSOFT } from "../../src/graph/types.ts";

/** A graph whose only node dequantises with these scales. */
function graphWith(
  scale: Tensor,
  opType = "DequantizeLinear",
  attributes: Record<string, Attribute> = {},
): Graph {
  const isStandard = opType.endsWith("Linear");
  return {
    name: "g",
    inputs: [{ name: "x" }],
    outputs: [{ name: "y" }],
    initializers: new Map([["scale", scale]]),
    nodes: [{
      name: "dq",
      opType,
      domain: isStandard ? "" : MICROSOFT,
      inputs: isStandard ? ["x", "scale"] : ["x", "x", "scale"],
      outputs: ["y"],
      attributes,
    }],
    valueInfo: new Map(),
  };
}

const half = (bits: number[]): Tensor => ({
  dtype: "float16",
  dims: [bits.length],
  bytes: new Uint8Array(Uint16Array.from(bits).buffer),
});

Deno.test("scaleProblem() accepts positive, negative and, for blocks of weights, zero scales", () => {
  const blocks: Record<string, Attribute> = { block_size: { kind: "int", value: 32 } };
  assertEquals(scaleProblem(graphWith(float32([2], [0.5, -1e-30]))), undefined);
  assertEquals(scaleProblem(graphWith(half([0x3c00, 0x0001]))), undefined);
  assertEquals(
    scaleProblem(graphWith(float32([2], [0, 1]), "DequantizeLinear", blocks)),
    undefined,
  );
  assertEquals(scaleProblem(graphWith(float32([2], [0, 1]), "MatMulNBits")), undefined);
});

const BAD: [string, Graph, RegExp][] = [
  [
    "NaN",
    graphWith(float32([2], [1, NaN])),
    /"scale" of node 0 \(DequantizeLinear "dq"\): element 1/,
  ],
  ["infinity", graphWith(float32([], [Infinity])), /element 0 is NaN or infinite/],
  ["zero", graphWith(float32([2], [1, 0])), /element 1 is 0/],
  ["negative zero", graphWith(float32([], [-0])), /element 0 is 0/],
  ["zero in half precision", graphWith(half([0x3c00, 0x8000])), /element 1 is 0/],
  [
    "NaN in a block",
    graphWith(half([0x7e00]), "MatMulNBits"),
    /MatMulNBits "dq"\): element 0 is NaN/,
  ],
];

for (const [title, graph, pattern] of BAD) {
  Deno.test(`scaleProblem() finds ${title}, in a subgraph too`, () => {
    assertMatch(scaleProblem(graph) ?? "", pattern);
    const outer: Graph = {
      ...graph,
      initializers: new Map(),
      nodes: [{
        ...graph.nodes[0],
        opType: "If",
        attributes: { then_branch: { kind: "graph", value: graph } },
      }],
    };
    assertMatch(scaleProblem(outer) ?? "", pattern);
  });
}
