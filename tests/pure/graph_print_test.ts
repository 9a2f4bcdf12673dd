import { assertEquals } from "@std/assert";
import { float32, int64 } from "../../src/graph/tensor.ts";
import { formatGraph } from "../../src/graph/print.ts";
import type { Graph } from "../../src/graph/types.ts";

const branch: Graph = {
  name: "then",
  inputs: [],
  outputs: [{ name: "t", type: { dtype: "float32" } }],
  initializers: new Map(),
  nodes: [{ name: "", opType: "Neg", domain: "", inputs: ["h"], outputs: ["t"], attributes: {} }],
  valueInfo: new Map(),
};

Deno.test("formatGraph() writes a line a node, with types, attributes and subgraphs", () => {
  const graph: Graph = {
    name: "main",
    inputs: [{ name: "x", type: { dtype: "float32", shape: ["batch", 64] } }, { name: "seq" }],
    outputs: [{ name: "y", type: { dtype: "float32", shape: ["batch", 8] } }],
    initializers: new Map([
      ["w", float32([8, 64], new Float32Array(512))],
      ["shape", int64([2], [-1, 8])],
      ["scale", float32([], [1 / 3])],
    ]),
    nodes: [
      {
        name: "proj",
        opType: "Gemm",
        domain: "",
        inputs: ["x", "w", ""],
        outputs: ["h"],
        attributes: { transB: { kind: "int", value: 1 }, alpha: { kind: "float", value: 0.5 } },
      },
      {
        name: "",
        opType: "Split",
        domain: "com.microsoft",
        inputs: ["h"],
        outputs: ["", "s"],
        attributes: {
          sizes: { kind: "ints", value: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] },
          mode: { kind: "string", value: 'a"b' },
          value: { kind: "tensor", value: int64([1], [3]) },
          names: { kind: "strings", value: ["p"] },
        },
      },
      {
        name: "choice",
        opType: "If",
        domain: "",
        inputs: ["s"],
        outputs: ["y"],
        attributes: { then_branch: { kind: "graph", value: branch } },
      },
    ],
    valueInfo: new Map([["h", { name: "h", type: { dtype: "float32", shape: ["batch", 8] } }]]),
  };
  assertEquals(
    formatGraph(graph),
    `graph "main" {
  input x: float32[batch, 64]
  input seq: ?
  initializer w: float32[8, 64]
  initializer shape: int64[2] = {-1, 8}
  initializer scale: float32[] = {0.333333}
  h: float32[batch, 8] = Gemm(x, w, _; transB: 1, alpha: 0.5)  # "proj"
  _, s = com.microsoft.Split(h; sizes: [1, 2, 3, 4, 5, 6, 7, 8, … 2 more], mode: "a\\"b", value: int64[1] = {3}, names: ["p"])
  y: float32[batch, 8] = If(s; then_branch: graph "then")  # "choice"
    then_branch: graph "then" {
      t: float32[…] = Neg(h)
      output t: float32[…]
    }
  output y: float32[batch, 8]
}
`,
  );
});
