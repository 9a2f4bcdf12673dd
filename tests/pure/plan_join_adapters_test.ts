import { assertEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { joinAdapters } from "../../src/plan/join_adapters.ts";

const [ROWS, WIDTH] = [5, 16];

/** Adapters' matrices by name, and the graph of their products with "x" or "other". */
function joined(
  ranks: Readonly<Record<string, number>>,
  reads: (name: string) => string = () => "x",
  trainable = Object.keys(ranks),
): Graph {
  const b = new GraphBuilder(inferTraining);
  for (const input of ["x", "other"]) b.input(input, "float32", [2, ROWS, WIDTH]);
  const products = Object.entries(ranks).map(([name, rank]) => {
    b.variable(name, float32([rank, WIDTH], new Float32Array(rank * WIDTH)));
    return b.op("MatMul", [reads(name), b.op("Transpose", [name])]);
  });
  return joinAdapters(b.build("g", products), new Set(trainable));
}

const operators = ({ nodes }: Graph) =>
  nodes.map(({ opType, inputs }) => `${opType} ${inputs.slice(0, 3).join()}`);

Deno.test("joinAdapters() multiplies one activation by all matrices at once, and splits by rank", () => {
  const graph = joined({ a: 4, b: 8, c: 2 });
  const name = `${graph.outputs[0].name}.joined`;
  assertEquals(operators(graph), [
    "Concat a,b,c",
    `Transpose ${name}.A`,
    `MatMul x,${name}.A.transposed`,
    `Split ${name},${name}.ranks`,
  ]);
  assertEquals([...toNumbers(graph.initializers.get(`${name}.ranks`)!)].map(Number), [4, 8, 2]);
  assertEquals(graph.nodes[3].outputs, graph.outputs.map((output) => output.name));
  assertEquals(graph.valueInfo.get(name)?.type?.shape, [2, ROWS, 14]);
});

Deno.test("joinAdapters() joins matrices of trained and frozen rows", () => {
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [2, ROWS, WIDTH]);
  const products = ["a", "b"].map((name) => {
    const rows = [name, `${name}.frozen`];
    for (const part of rows) b.variable(part, float32([3, WIDTH], new Float32Array(3 * WIDTH)));
    const matrix = b.op("Concat", rows, { axis: int(0) });
    return b.op("MatMul", ["x", b.op("Transpose", [matrix])]);
  });
  const graph = joinAdapters(b.build("g", products), new Set(["a", "b"]));
  const name = `${products[0]}.joined`;
  assertEquals(graph.nodes.map(({ opType, inputs }) => `${opType} ${inputs.join()}`), [
    "Concat a,a.frozen,b,b.frozen",
    `Transpose ${name}.A`,
    `MatMul x,${name}.A.transposed`,
    `Split ${name},${name}.ranks`,
  ]);
  assertEquals([...toNumbers(graph.initializers.get(`${name}.ranks`)!)].map(Number), [6, 6]);
});

Deno.test("joinAdapters() leaves alone what reads another activation, is frozen or is alone", () => {
  const apart = (graph: Graph) =>
    assertEquals(graph.nodes.map(({ opType }) => opType), [
      ...["Transpose", "MatMul", "Transpose", "MatMul"],
    ]);
  apart(joined({ a: 4, b: 4 }, (name) => name === "a" ? "x" : "other"));
  apart(joined({ a: 4, b: 4 }, undefined, ["a"]));
  assertEquals(joined({ a: 4 }).nodes.length, 2);
});
