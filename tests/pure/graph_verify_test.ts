import { assertEquals, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import { pendingTensor } from "../../src/graph/pending.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { graphProblem, verify } from "../../src/graph/verify.ts";
import { GraphEdit } from "../../src/lora/edit.ts";
import { rewriteDynamicQuantization } from "../../src/ops/quantized/pattern.ts";

const node = (
  inputs: string[],
  outputs: string[],
  attributes: Node["attributes"] = {},
  opType = "Op",
): Node => ({ name: "", opType, domain: "", inputs, outputs, attributes });

const graph = (more: Partial<Graph> = {}): Graph => ({
  name: "g",
  inputs: [{ name: "x", type: { dtype: "float32", shape: ["batch", 2] } }],
  outputs: [{ name: "y" }],
  initializers: new Map([["w", float32([2], [1, 2])]]),
  nodes: [node(["x", "w", ""], ["h", ""]), node(["h"], ["y"])],
  valueInfo: new Map(),
  ...more,
});

const branch = (reads: string): Node["attributes"] => ({
  body: {
    kind: "graph",
    value: { ...graph(), inputs: [], initializers: new Map(), nodes: [node([reads], ["y"])] },
  },
});

Deno.test("verify() returns a sound graph", () => {
  const sound = graph();
  assertStrictEquals(verify(sound, "test"), sound);
});

Deno.test("verify() names the pass and the problem", () => {
  assertThrows(
    () => verify(graph({ nodes: [] }), "prune"),
    Error,
    'prune made an unsound graph: output "y" is never defined',
  );
});

Deno.test("verify() takes values that are given, and weights that are still to be computed", () => {
  const reading = graph({ initializers: new Map() });
  assertThrows(() => verify(reading, "test"), Error, 'reads "w", which nothing before it defines');
  assertStrictEquals(verify(reading, "test", new Set(["w"])), reading);
  const pending = graph({ initializers: new Map([["w", pendingTensor("float32", [2])]]) });
  assertStrictEquals(verify(pending, "test"), pending);
});

Deno.test("a pass that makes an unsound graph is caught where it ends", () => {
  const model = { graph: graph(), opsets: { "": 21 }, irVersion: 10, metadata: new Map() };
  const edit = new GraphEdit(model.graph);
  edit.add(model.graph.nodes[0], "Neg", ["nowhere"], "n");
  assertThrows(
    () => edit.apply(model as unknown as Model),
    Error,
    'GraphEdit made an unsound graph: node 1 (Neg "n") reads "nowhere"',
  );
  const quantizer = node(["nowhere"], ["q", "s", "z"], {}, "DynamicQuantizeLinear");
  assertThrows(
    () => rewriteDynamicQuantization(graph({ nodes: [quantizer, ...graph().nodes] })),
    Error,
    "rewriteDynamicQuantization() made an unsound graph",
  );
});

Deno.test("graphProblem() lets a subgraph read what is defined before its node, and no more", () => {
  const nodes = (reads: string) => [
    node(["x"], ["h"]),
    node([], ["i"], branch(reads)),
    node(["h"], ["y"]),
  ];
  assertEquals(graphProblem(graph({ nodes: nodes("h") })), undefined);
  assertEquals(graphProblem(graph({ nodes: nodes("w") })), undefined);
  assertMatch(graphProblem(graph({ nodes: nodes("i") }))!, /subgraph "body": .*reads "i"/);
});

const BAD: [string, Partial<Graph>, RegExp][] = [
  [
    "nodes out of order",
    { nodes: [node(["h"], ["y"]), node(["x"], ["h"])] },
    /node 0 .* reads "h"/,
  ],
  ["a value defined twice", { nodes: [node([], ["y"]), node([], ["y"])] }, /defines "y"/],
  ["an initializer defined again", { nodes: [node([], ["w"]), node([], ["y"])] }, /defines "w"/],
  ["a node without operator", { nodes: [node([], ["y"], {}, "")] }, /no operator type/],
  ["two outputs of one name", { outputs: [{ name: "y" }, { name: "y" }] }, /two outputs/],
  ["an output without name", { outputs: [{ name: "" }] }, /output 0 has no name/],
  [
    "an initializer of the wrong size",
    { initializers: new Map([["w", { ...float32([2], [1, 2]), dims: [3] }]]) },
    /"w" of float32\[3\] needs 12 bytes: current value is 8/,
  ],
  [
    "an initializer of a fractional size",
    { initializers: new Map([["w", { ...float32([2], [1, 2]), dims: [4, 0.5] }]]) },
    /"w" has a dimension that is not a size: current value is 0.5/,
  ],
  [
    "a negative dimension of an annotation",
    { valueInfo: new Map([["h", { name: "h", type: { dtype: "float32", shape: [-1] } }]]) },
    /annotation "h" .* current value is -1/,
  ],
];

for (const [title, more, pattern] of BAD) {
  Deno.test(`graphProblem() finds ${title}`, () => {
    assertMatch(graphProblem(graph(more)) ?? "", pattern);
  });
}
