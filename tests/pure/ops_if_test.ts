/** If is replaced by the branch that is taken once shapes are known. */
import { assertEquals, assertThrows } from "@std/assert";
import { GraphBuilder, type Known } from "../../src/graph/builder.ts";
import { bool, int64 } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { If } from "../../src/ops/if.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import { lowerForTraining } from "../../src/plan/lower.ts";

const node = (opType: string, inputs: string[], outputs: string[], rest: Partial<Node> = {}) => ({
  name: `${opType}.${outputs}`,
  opType,
  domain: "",
  inputs,
  outputs,
  attributes: {},
  ...rest,
});

function graph(nodes: Node[], output: string, rest: Partial<Graph> = {}): Graph {
  return {
    name: "branch",
    inputs: [],
    outputs: [{ name: output }],
    initializers: new Map(),
    nodes,
    valueInfo: new Map(),
    ...rest,
  };
}

const THEN = graph([node("Exp", ["x"], ["t"]), node("Neg", ["t"], ["same"])], "same");
const ELSE = graph([node("Add", ["x", "one"], ["same"])], "same", {
  initializers: new Map([["one", int64([], [1])]]),
});
const IF = node("If", ["which"], ["y"], {
  name: "guard",
  attributes: {
    then_branch: { kind: "graph", value: THEN },
    else_branch: { kind: "graph", value: ELSE },
  },
});
const condition = (value: boolean) => ({
  dtype: "bool" as const,
  dims: [],
  value: bool([], [value]),
});

/** The nodes that take the place of an If. */
function inlineIf(test: Node, known: Known): readonly Node[] {
  const emitted: Node[] = [];
  If.inline!(test, { opset: 21, known: () => known, emit: (nodes) => emitted.push(...nodes) });
  return emitted;
}

Deno.test("If.inline() gives the taken branch, its values under the If's name", () => {
  const shown = (nodes: readonly Node[]) =>
    nodes.map(({ opType, inputs, outputs }) => `${outputs} = ${opType}(${inputs})`);
  assertEquals(shown(inlineIf(IF, condition(true))), [
    "guard/t = Exp(x)",
    "guard/same = Neg(guard/t)",
    "y = Identity(guard/same)",
  ]);
  assertEquals(shown(inlineIf(IF, condition(false))), [
    "guard/one = Constant()",
    "guard/same = Add(x,guard/one)",
    "y = Identity(guard/same)",
  ]);
});

Deno.test("If.inline() renames what a nested If reads of the branch around it", () => {
  const inner = graph([node("Neg", ["t"], ["u"])], "u");
  const nested = node("If", ["which"], ["v"], {
    name: "inner",
    attributes: { then_branch: { kind: "graph", value: inner } },
  });
  const outer = {
    ...IF,
    attributes: {
      then_branch: {
        kind: "graph" as const,
        value: graph([node("Exp", ["x"], ["t"]), nested], "v"),
      },
    },
  };
  const once = inlineIf(outer, condition(true));
  const twice = inlineIf(once[1], condition(true));
  assertEquals(twice[0].inputs, ["guard/t"]);
});

Deno.test("If.inline() refuses a condition computed from data, naming the node", () => {
  assertThrows(
    () => inlineIf(IF, { dtype: "bool", dims: [] }),
    UnsupportedError,
    'If "guard": its condition "which" is computed from data',
  );
});

Deno.test("lowerForTraining() follows the branch that shapes select", () => {
  const squeeze = graph([node("Squeeze", ["x", "axis"], ["s"])], "s");
  const keep = graph([node("Identity", ["x"], ["k"])], "k");
  const model: Model = {
    irVersion: 10,
    opsets: { "": 17 },
    metadata: {},
    graph: {
      name: "guarded",
      inputs: [{ name: "x", type: { dtype: "float32", shape: ["n", 2] } }],
      outputs: [{ name: "y", type: { dtype: "float32" } }],
      initializers: new Map([
        ["zero", int64([], [0])],
        ["one", int64([], [1])],
        ["axis", int64([1], [0])],
      ]),
      nodes: [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["n"]),
        node("Equal", ["n", "one"], ["single"]),
        node("If", ["single"], ["z"], {
          attributes: {
            then_branch: { kind: "graph", value: squeeze },
            else_branch: { kind: "graph", value: keep },
          },
        }),
        node("Neg", ["z"], ["y"]),
      ],
      valueInfo: new Map(),
    },
  };
  const dimsFor = (n: number) => {
    const graph = lowerForTraining(
      model,
      new Map([["x", { dtype: "float32", dims: [n, 2] }]]),
      ["y"],
    );
    return graph.outputs[0].type?.shape;
  };
  assertEquals(dimsFor(1), [2]);
  assertEquals(dimsFor(3), [3, 2]);
});

Deno.test("GraphBuilder never emits an If", () => {
  const b = new GraphBuilder(inferTraining);
  b.input("which", "bool", []);
  assertThrows(() => b.add(IF), UnsupportedError);
});
