import { assert, assertEquals } from "@std/assert";
import { int, ints } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, int64, toNumbers } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { packingOf, rowsOf } from "../../src/data/packing.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { PACKED } from "../../src/plan/names.ts";
import { packTokens } from "../../src/plan/pack_tokens.ts";

const SHAPE = { batch: 2, length: 4 };
const WIDTH = 4;
const ROWS = 6;

/** Embedded tokens, a product, something of the caller's, and a sum over the tokens. */
function graphWith(middle: (b: GraphBuilder, x: string) => string): Graph {
  const b = new GraphBuilder(inferTraining);
  b.input("input_ids", "int64", [2, 4]);
  const weight = (name: string, rows: number) =>
    b.variable(name, float32([rows, WIDTH], new Float32Array(rows * WIDTH).fill(0.5)));
  const embedded = b.op("Gather", [weight("embedding", 9), "input_ids"]);
  const x = b.op("MatMul", [embedded, weight("W", WIDTH)]);
  const sum = b.op("ReduceSum", [middle(b, x), b.int64s([1])], { keepdims: int(0) });
  return b.build("graph", [sum]);
}

const packed = (graph: Graph) => packTokens(graph, SHAPE, ROWS, new Set(["embedding", "W"]));

/** Shape of the first output of each node of an operator. */
const shapes = (graph: Graph, opType: string) =>
  graph.nodes.filter((node) => node.opType === opType).map(({ outputs }) =>
    graph.valueInfo.get(outputs[0])!.type!.shape
  );

Deno.test("packTokens() runs products and what follows over the packed rows, sums over the padded ones", () => {
  const graph = packed(graphWith((b, x) => b.op("Relu", [b.op("Add", [x, b.scalar(1)])])));
  assertEquals(shapes(graph, "MatMul"), [[1, ROWS, WIDTH]]);
  assertEquals(shapes(graph, "Relu"), [[1, ROWS, WIDTH]]);
  assertEquals(shapes(graph, "ReduceSum"), [[2, WIDTH]]);
  const inputs = graph.inputs.map(({ name }) => name);
  assert(inputs.includes(PACKED.positions) && inputs.includes(PACKED.rows), `${inputs}`);
});

Deno.test("packTokens() leaves what a position takes part in to the padded rows", () => {
  const positions = float32([1, 4, WIDTH], new Float32Array(4 * WIDTH));
  const graph = packed(
    graphWith((b, x) => b.op("Add", [x, b.initializer("positions", positions)])),
  );
  assertEquals(shapes(graph, "Add"), [[2, 4, WIDTH]]);
});

Deno.test("packTokens() rotates packed rows by their positions in their sequences, others as they are", () => {
  const table = float32([16, WIDTH / 2], new Float32Array(16 * WIDTH / 2));
  const rotated = (positions: (b: GraphBuilder) => string) =>
    packed(graphWith((b, x) => {
      const [cos, sin] = ["cos", "sin"].map((name) => b.initializer(name, table));
      return b.microsoft("RotaryEmbedding", [x, positions(b), cos, sin]);
    }));
  for (const first of [0, 5]) {
    const graph = rotated((b) => b.int64s([first]));
    assertEquals(shapes(graph, "RotaryEmbedding"), [[ROWS, 1, WIDTH]]);
    assertEquals(shapes(graph, "Mod"), [[ROWS, 1]]);
    assertEquals(shapes(graph, "Add").length, first === 0 ? 0 : 1);
  }
  const given = rotated((b) => b.input("position_ids", "int64", [2, 4]));
  assertEquals(shapes(given, "RotaryEmbedding"), [[2, 4, WIDTH]]);
});

Deno.test("packTokens() packs what joins tokens' rows, and nothing whose axes only happen to fit", () => {
  const mixed = (b: GraphBuilder, x: string) => b.op("Transpose", [x], { perm: ints([0, 2, 1]) });
  // [2, 4, 4] crossed: its second axis is the width. A product over it is no token's.
  const crossed = packed(graphWith((b, x) => b.op("Relu", [mixed(b, x)])));
  assertEquals(shapes(crossed, "Relu"), [[2, 4, WIDTH]]);
  // Crossed twice, multiplied and added to tokens' rows, it is tokens' rows again.
  const joined = packed(
    graphWith((b, x) => {
      const restored = mixed(b, b.op("Exp", [mixed(b, x)]));
      return b.op("Add", [x, b.op("MatMul", [restored, "W"])]);
    }),
  );
  assertEquals(shapes(joined, "Exp"), [[2, WIDTH, 4]]);
  assertEquals(shapes(joined, "MatMul"), [[1, ROWS, WIDTH], [1, ROWS, WIDTH]]);
  assertEquals(shapes(joined, "Add"), [[1, ROWS, WIDTH]]);
});

const batchOf = (lengths: readonly number[], length: number) => ({
  inputIds: int64([lengths.length, length], new Uint8Array(lengths.length * length)),
  attentionMask: int64(
    [lengths.length, length],
    lengths.flatMap((n) => Array.from({ length }, (_, t) => Number(t < n))),
  ),
  tokenCount: 0,
});

Deno.test("packingOf() lists real tokens, then padding, and sends padding to the first such row", () => {
  const packing = packingOf(rowsOf(batchOf([3, 1], 8)))!;
  const positions = Array.from(toNumbers(packing.positions), Number);
  const rowOf = Array.from(toNumbers(packing.rowOf), Number);
  assertEquals(positions.slice(0, 4), [0, 1, 2, 8]);
  assert(
    packing.rows > 4 && positions.slice(4).every((position) => position === 3),
    `${positions}`,
  );
  assertEquals(rowOf, [0, 1, 2, 4, 4, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4, 4]);
});

Deno.test("packingOf() pads to as many rows as are asked for, or to those that the tokens need", () => {
  const real = packingOf(rowsOf(batchOf([30, 10], 64)))!;
  const wider = packingOf(rowsOf(batchOf([30, 10], 64)), 96)!;
  assertEquals([real.rows, wider.rows], [48, 96]);
  const [positions, more] = [real, wider].map(({ positions }) =>
    Array.from(toNumbers(positions), Number)
  );
  assertEquals(more.slice(0, 48), positions);
  assertEquals(new Set(more.slice(40)), new Set([30]), "padding, again and again");
  assertEquals(packingOf(rowsOf(batchOf([30, 10], 64)), 8)!.rows, 48);
  assertEquals(packingOf(rowsOf(batchOf([30, 10], 64)), 128), undefined);
});

Deno.test("packingOf() is absent where there is next to no padding", () => {
  assertEquals(packingOf(rowsOf(batchOf([64, 64], 64))), undefined);
  assertEquals(packingOf(rowsOf(batchOf([64, 62], 64))), undefined);
});

/** Sequences of the given ids, padded to `length`. */
const batchWith = (ids: readonly (readonly number[])[], length: number) => ({
  ...batchOf(ids.map((row) => row.length), length),
  inputIds: int64(
    [ids.length, length],
    ids.flatMap((row) => Array.from({ length }, (_, t) => row[t] ?? 0)),
  ),
});

Deno.test("packingOf() has one row for what several sequences begin with, and returns its cotangent to the first", () => {
  const batch = batchWith([[7, 8, 9], [7, 8, 5, 6], [4, 8], [7, 8, 5]], 8);
  const { rows, positions, rowOf, firstOf } = packingOf(rowsOf(batch, { sharesPrefixes: true }))!;
  const numbers = (value: typeof positions) => Array.from(toNumbers(value), Number);
  assertEquals(rows, 16);
  assertEquals(numbers(positions), [0, 1, 2, 10, 11, 16, 17, ...new Array(9).fill(3)]);
  const rowsWith = (...sequences: readonly (readonly number[])[]) =>
    sequences.flatMap((row) => [...row, ...new Array(8 - row.length).fill(7)]);
  assertEquals(numbers(rowOf), rowsWith([0, 1, 2], [0, 1, 3, 4], [5, 6], [0, 1, 3]));
  assertEquals(
    numbers(firstOf!).map((row, position) => row === 15 ? undefined : [position, row])
      .filter((pair) => pair !== undefined),
    [[0, 0], [1, 1], [2, 2], [10, 3], [11, 4], [16, 5], [17, 6]],
  );
});

Deno.test("packingOf() shares nothing between tokens of other types, after a difference or behind padding", () => {
  const batch = batchWith([[7, 8, 9], [7, 8, 9], [6, 8, 9]], 8);
  const countOf = (how: Partial<typeof batch> & { tokenTypeIds?: typeof batch.inputIds }) =>
    rowsOf({ ...batch, ...how }, { sharesPrefixes: true }).positions.length;
  assertEquals(countOf({}), 6);
  const types = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  assertEquals(countOf({ tokenTypeIds: int64([3, 8], types) }), 8);
  // The second sequence's first position is padding.
  const mask = Array.from(toNumbers(batch.attentionMask), Number);
  [mask[8], mask[11]] = [0, 1];
  assertEquals(countOf({ attentionMask: int64([3, 8], mask) }), 9);
});

Deno.test("packingOf() shares rows of sequences without any padding", () => {
  const batch = batchWith([1, 2, 3, 4].map((last) => [5, 5, 5, 5, 5, 5, 5, last]), 8);
  const { rows, rowOf, firstOf } = packingOf(rowsOf(batch, { sharesPrefixes: true }))!;
  assertEquals(rows, 16);
  assertEquals(Math.max(...Array.from(toNumbers(rowOf), Number)), 10);
  assertEquals(Array.from(toNumbers(firstOf!), Number).slice(8, 16), [
    ...[15, 15, 15, 15, 15, 15, 15],
    8,
  ]);
});
