import { assertEquals, assertStrictEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { ONNX_TYPE } from "../../src/graph/dtype.ts";
import { tensor, toNumbers } from "../../src/graph/tensor.ts";
import { node } from "../../src/graph/node.ts";
import type { Graph } from "../../src/graph/types.ts";
import { inFullPrecision } from "../../src/plan/full_precision.ts";
import { floatTensor } from "../../src/quant/numbers.ts";

const graphOf = (more: Partial<Graph>): Graph => ({
  name: "g",
  inputs: [{ name: "x", type: { dtype: "float16", shape: [2, 512] } }],
  outputs: [{ name: "y", type: { dtype: "float16", shape: [2, 512] } }],
  initializers: new Map(),
  nodes: [],
  valueInfo: new Map(),
  ...more,
});

/** More elements than a vector has. */
const WEIGHT = tensor("float16", [512, 512], new Uint8Array(2 * 512 * 512));

Deno.test("inFullPrecision() casts weights where they are read and widens what is small", () => {
  const made = inFullPrecision(graphOf({
    initializers: new Map([["w", WEIGHT], ["b", floatTensor("float16", [2], [0.5, -1])]]),
    nodes: [node("MatMul", ["x", "w"], "h"), node("Add", ["h", "b"], "y")],
  }));
  assertEquals(made.inputs[0].type?.dtype, "float32");
  assertEquals(made.outputs[0].type?.dtype, "float32");
  assertStrictEquals(made.initializers.get("w"), WEIGHT);
  assertEquals(made.initializers.get("b")?.dtype, "float32");
  assertEquals([...toNumbers(made.initializers.get("b")!)], [0.5, -1]);
  assertEquals(made.nodes.map(({ opType, inputs }) => [opType, ...inputs]), [
    ["Cast", "w"],
    ["MatMul", "x", "w.float32"],
    ["Add", "h", "b"],
  ]);
});

Deno.test("inFullPrecision() widens casts, constants and branches, which read the wide weights", () => {
  const branch = graphOf({
    inputs: [],
    outputs: [{ name: "z" }],
    nodes: [node("MatMul", ["x", "w"], "z")],
  });
  const made = inFullPrecision(graphOf({
    initializers: new Map([["w", WEIGHT], ["c", tensor("bool", [], Uint8Array.of(1))]]),
    nodes: [
      node("Cast", ["x"], "h", { to: int(ONNX_TYPE.bfloat16) }),
      node("Constant", [], "k", {
        value: { kind: "tensor", value: floatTensor("float16", [], [3]) },
      }),
      node("If", ["c"], "y", { then_branch: { kind: "graph", value: branch } }),
    ],
  }));
  const [, cast, constant, choice] = made.nodes;
  assertEquals(cast.attributes.to.value, ONNX_TYPE.float32);
  const { value } = constant.attributes;
  assertEquals(value.kind === "tensor" && value.value.dtype, "float32");
  const taken = choice.attributes.then_branch;
  assertEquals(taken.kind === "graph" && taken.value.nodes[0].inputs, ["x", "w.float32"]);
});

Deno.test("inFullPrecision() returns a graph without half precision as it is", () => {
  const graph = graphOf({
    inputs: [{ name: "x", type: { dtype: "float32", shape: [2] } }],
    outputs: [{ name: "y" }],
    nodes: [node("Neg", ["x"], "y")],
  });
  assertStrictEquals(inFullPrecision(graph), graph);
});
