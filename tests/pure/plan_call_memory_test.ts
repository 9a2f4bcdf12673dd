import { assertEquals } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { callBytes } from "../helpers/call_bytes.ts";
import { inferTraining } from "../../src/ops/registry.ts";

const ROWS = 1024;
const BYTES = ROWS * 4;

/** Bytes a graph takes at its peak and has at its end, by its own account. */
function bytesOf(build: (b: GraphBuilder, x: string) => string): { peak: number; end: number } {
  const b = new GraphBuilder(inferTraining);
  const output = build(b, b.input("x", "float32", [1, ROWS]));
  return callBytes(b.build("graph", [output]));
}

const chain = (b: GraphBuilder, x: string, ops: string) =>
  ops.split(" ").reduce((value, op) => b.op(op, [value]), x);

// Measured: four operators in a row on ONNX Runtime 1.30.
const CASES: readonly (readonly [string, number])[] = [
  ["Exp Exp Exp Neg", 2],
  ["Sigmoid Tanh Relu Neg", 2],
  ["Exp Sigmoid Identity Neg", 2],
];
for (const [ops, buffers] of CASES) {
  Deno.test(`callMemory() finds ${buffers} buffers at the peak of ${ops}`, () => {
    const { peak, end } = bytesOf((b, x) => chain(b, x, ops));
    assertEquals([peak / BYTES, end / BYTES], [buffers, 1]);
  });
}

Deno.test("callMemory() keeps an output that is read later, and gives outputs a buffer of their own", () => {
  // The sum reads Exp's output after Neg's: three buffers at once.
  const { peak } = bytesOf((b, x) => {
    const exp = b.op("Exp", [x]);
    return b.op("Add", [exp, b.op("Neg", [exp])]);
  });
  assertEquals(peak / BYTES, 3);
  // The caller's input lies elsewhere; a reshaped one as output is a copy.
  assertEquals(bytesOf((b, x) => b.reshape(x, [ROWS, 1])), { peak: BYTES, end: BYTES });
});

Deno.test("callMemory() holds a dead value's memory for a later one of its shape, unless that follows from sizes", () => {
  const b = new GraphBuilder(inferTraining);
  let y = b.input("x", "float32", [1, ROWS]);
  // Two values of one shape, and one twice as large between them.
  for (const rows of [1, 2, 1]) {
    const wide = b.op("Expand", [y, b.int64s([rows, ROWS])]);
    y = b.op("ReduceSum", [wide, b.int64s([0, 1])]);
  }
  const graph = b.build("graph", [y]);
  const wide = graph.nodes.filter(({ opType }) => opType === "Expand").map((node) =>
    node.outputs[0]
  );
  const sum = 4;
  assertEquals(callBytes(graph).peak, 3 * BYTES + sum);
  assertEquals(callBytes(graph, new Set(wide)).peak, 2 * BYTES + sum);
});

Deno.test("callMemory() counts what Where blends its branches in", () => {
  const { peak } = bytesOf((b, x) => {
    const condition = b.input("condition", "bool", [1, ROWS]);
    return b.op("Where", [condition, x, b.input("y", "float32", [1, 1])]);
  });
  assertEquals(peak / BYTES, 3);
});
