import { assertEquals, assertMatch } from "@std/assert";
import { allRules } from "../../src/ops/registry.ts";
import { arityProblem } from "../../src/ops/schema/arity.ts";
import { portProblem } from "../../src/graph/ports.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { type Dim, type Graph, MICROSOFT } from "../../src/graph/types.ts";

function graphOf(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  domain = "",
): Graph {
  return {
    name: "g",
    inputs: [{ name: "x" }],
    outputs: [{ name: "y" }],
    initializers: new Map(),
    nodes: [{ name: "n", opType, domain, inputs, outputs, attributes: {} }],
    valueInfo: new Map(),
  };
}

Deno.test("arityProblem() accepts what operators have, trailing inputs left out or empty", () => {
  const sound = [
    graphOf("Constant", [], ["y"]),
    graphOf("MatMul", ["x", "x"], ["y"]),
    graphOf("Clip", ["x", "", ""], ["y"]),
    graphOf("Concat", new Array(50).fill("x"), ["y"]),
    graphOf("Loop", ["x", ""], ["y"]),
    graphOf("DynamicQuantizeLinear", ["x"], ["y", "s", "z"]),
    graphOf("MatMulNBits", ["x", "w", "s", "", "", "b"], ["y"], MICROSOFT),
    graphOf("Unheard", [], [], "of.another.maker"),
  ];
  for (const graph of sound) assertEquals(arityProblem(graph), undefined);
});

for (
  const [what, graph, problem] of [
    [
      "a Constant with two outputs",
      graphOf("Constant", [], ["y", "w"]),
      'node 0 (Constant "n"): it must have 1 outputs: current value is 2',
    ],
    ["a product of one", graphOf("MatMul", ["x", ""], ["y"]), "2 inputs: current value is 1"],
    ["too many inputs", graphOf("Relu", ["x", "x"], ["y"]), "1 inputs: current value is 2"],
    ["no weight", graphOf("MatMulNBits", ["x"], ["y"], MICROSOFT), "3 to 6 inputs"],
    ["nothing to join", graphOf("Concat", [], ["y"]), "1 or more inputs"],
  ] as const
) {
  Deno.test(`arityProblem() refuses ${what}, naming the node`, () => {
    const found = arityProblem(graph) ?? "";
    assertEquals(found.includes(problem), true, found);
  });
}

function portsOf(input: readonly Dim[], output: readonly Dim[], weights = 1): Graph {
  const type = (shape: readonly Dim[]) => ({ dtype: "float32", shape } as const);
  return {
    ...graphOf("Relu", ["x"], ["y"]),
    inputs: [{ name: "x", type: type(input) }],
    outputs: [{ name: "y", type: type(output) }],
    initializers: new Map([["w", float32([weights], new Float32Array(weights))]]),
  };
}

Deno.test("portProblem() accepts sizes of any model, and larger ones of large models", () => {
  assertEquals(portProblem(portsOf(["batch", 512], ["batch", 512, 4096])), undefined);
  assertEquals(portProblem(portsOf([1], [64, 131_072], 1 << 20)), undefined);
});

Deno.test("portProblem() refuses inputs and outputs far larger than the weights, naming one", () => {
  assertEquals(
    portProblem(portsOf([2 ** 20, "length", 2 ** 20], [1])),
    `the inputs have ${2 ** 40} elements, more than ${
      2 ** 22
    } for weights of this size: input "x" is [${2 ** 20}, length, ${2 ** 20}]`,
  );
  assertEquals(portProblem(portsOf([1], [1, 2 ** 31]))?.startsWith("the outputs have"), true);
});

Deno.test("arityProblem() knows how many inputs every operator with a rule has", () => {
  for (const { opType, domain, inputs } of allRules()) {
    if (inputs === "0..") continue; // any number will do
    // One without inputs has too many here, all others too few.
    const found = graphOf(opType, inputs.startsWith("0") ? ["x"] : [], ["y"], domain);
    assertMatch(arityProblem(found)!, /must have .* inputs: current value is [01]$/, opType);
  }
});
