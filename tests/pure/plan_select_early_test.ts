import { assert, assertEquals } from "@std/assert";
import { dimsIn } from "../../src/graph/facts.ts";
import { node } from "../../src/graph/node.ts";
import { float32, type Tensor } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { lowerForTraining } from "../../src/plan/lower.ts";
import { selectEarly } from "../../src/plan/select_early.ts";
import { selectTargetRows, TARGET_ROWS } from "../../src/plan/select_rows.ts";

const [WIDTH, INNER, ROWS] = [8, 24, 5];
const SHAPE = { batch: 2, length: 6 };

/** Embeddings x, attention of a kind (x mixed along the tokens), x + mixed·O, then an MLP and a head. */
const NODES: readonly Node[] = [
  node("Gather", ["embedding", "input_ids"], "x"),
  node("CumSum", ["x", "tokens"], "mixed"),
  node("MatMul", ["mixed", "O"], "projected"),
  node("Add", ["x", "projected"], "attended"),
  node("MatMul", ["attended", "W"], "inner"),
  node("Relu", ["inner"], "activated"),
  node("MatMul", ["activated", "V"], "update"),
  node("Add", ["attended", "update"], "hidden"),
  node("MatMul", ["hidden", "head"], "logits"),
];

function lowered(nodes: readonly Node[], outputs: readonly string[] = ["logits"]): Graph {
  const matrix = (rows: number, columns: number): Tensor =>
    float32([rows, columns], new Float32Array(rows * columns).fill(0.1));
  const graph: Graph = {
    name: "block",
    inputs: [{ name: "input_ids", type: { dtype: "int64", shape: ["batch", "length"] } }],
    outputs: outputs.map((name) => ({ name })),
    initializers: new Map<string, Tensor>([
      ["embedding", matrix(11, WIDTH)],
      ["tokens", { dtype: "int64", dims: [], bytes: new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]) }],
      ["O", matrix(WIDTH, WIDTH)],
      ["W", matrix(WIDTH, INNER)],
      ["V", matrix(INNER, WIDTH)],
      ["head", matrix(WIDTH, 11)],
    ]),
    nodes,
    valueInfo: new Map(),
  };
  const selected = selectTargetRows(graph, "logits")!;
  const model: Model = { irVersion: 10, opsets: { "": 21 }, graph: selected, metadata: {} };
  const bound = new Map([
    ["input_ids", { dtype: "int64" as const, dims: [SHAPE.batch, SHAPE.length] }],
    [TARGET_ROWS, { dtype: "int64" as const, dims: [ROWS] }],
  ]);
  return lowerForTraining(model, bound, outputs);
}

const early = (graph: Graph, rows = ROWS) => selectEarly(graph, SHAPE, rows, new Set());

/** What the target rows are chosen of. */
function chosenOf(graph: Graph): string[] {
  const chosen = graph.nodes.filter(({ inputs }) => inputs[1] === TARGET_ROWS);
  return chosen.map(({ outputs }) => outputs[0]).flatMap((rows) =>
    graph.nodes.filter(({ inputs }) => inputs[0] === rows).map(({ outputs }) => outputs[0])
  );
}

Deno.test("selectEarly() computes no other rows from what attention leaves on", () => {
  const graph = early(lowered(NODES));
  assertEquals(chosenOf(graph).sort(), ["mixed.targets", "x.targets"]);
  for (const value of ["projected", "attended", "inner", "update", "hidden"]) {
    assertEquals(dimsIn(graph, value)[1], ROWS, value);
  }
  assertEquals(dimsIn(graph, "mixed"), [2, 6, WIDTH]);
  assertEquals(dimsIn(graph, "logits"), [ROWS, 11]);
});

Deno.test("selectEarly() goes no further than what something else reads", () => {
  const mixing = [
    ...NODES.slice(0, -2),
    node("CumSum", ["update", "tokens"], "again"),
    node("Add", ["attended", "again"], "hidden"),
    NODES.at(-1)!,
  ];
  const graph = early(lowered(mixing));
  assertEquals(chosenOf(graph).sort(), ["again.targets", "attended.targets"]);
  assertEquals(dimsIn(graph, "inner")[1], SHAPE.length);
});

Deno.test("selectEarly() does not choose of what is wider than a residual stream and its update", () => {
  const wide = [
    node("Gather", ["embedding", "input_ids"], "x"),
    node("MatMul", ["x", "W"], "inner"),
    node("CumSum", ["inner", "tokens"], "mixed"),
    node("Relu", ["mixed"], "activated"),
    node("MatMul", ["activated", "V"], "update"),
    node("Add", ["x", "update"], "hidden"),
    NODES.at(-1)!,
  ];
  assertEquals(chosenOf(early(lowered(wide))).sort(), ["update.targets", "x.targets"]);
});

Deno.test("selectEarly() leaves a graph alone where every row is a target", () => {
  const graph = lowered(NODES);
  assert(early(graph, SHAPE.batch * SHAPE.length) === graph);
});
