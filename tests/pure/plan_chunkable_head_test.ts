import { assertEquals } from "@std/assert";
import { int, ints } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { byteLength, type DataType } from "../../src/graph/dtype.ts";
import { constantValues } from "../../src/graph/passes/constants.ts";
import { elementCount, tensor } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { findChunkableHead, wideProducts } from "../../src/plan/chunkable_head.ts";

const [ROWS, K, VOCABULARY] = [4, 16, 96];
const zeros = (dtype: DataType, ...dims: number[]) =>
  tensor(dtype, dims, new Uint8Array(byteLength(dtype, elementCount(dims))));

type Emit = (
  b: GraphBuilder,
  tensors: (name: string, dtype: DataType, ...d: number[]) => string,
) => string;

/** The head of a graph whose hidden state is h [ROWS, K]. */
function headOf(emit: Emit, trainable: readonly string[] = [], chunk = 32) {
  const b = new GraphBuilder(inferTraining);
  const h = b.input("h", "float32", [ROWS, K]);
  b.op("Relu", [h]);
  const logits = emit(b, (name, dtype, ...dims) => b.variable(name, zeros(dtype, ...dims)));
  const graph = b.build("g", [logits]);
  const found = findChunkableHead(graph, constantValues(graph), new Set(trainable), chunk);
  return found === undefined
    ? wideProducts(graph, chunk).size === 0 ? "narrow" : "whole"
    : [found.weight, found.axis, found.bias].join();
}

const product: Emit = (b, given) => b.op("MatMul", ["h", given("W", "float32", K, VOCABULARY)]);
const transB = { transB: int(1) };

Deno.test("findChunkableHead() finds weights in rows and in columns, and their biases", () => {
  const rows = (b: GraphBuilder, w: string) => b.op("Transpose", [w], { perm: ints([1, 0]) });
  assertEquals(headOf(product), "W,1,");
  const found: readonly [string, Emit][] = [
    ["W,0,", (b, given) => b.op("MatMul", ["h", rows(b, given("W", "float32", VOCABULARY, K))])],
    ["W,0,", (b, given) => b.op("Gemm", ["h", given("W", "float32", VOCABULARY, K)], transB)],
    [
      "W,1,",
      (b, given) => b.op("Gemm", ["h", rows(b, given("W", "float32", K, VOCABULARY))], transB),
    ],
    ["W,1,c", (b, given) => b.op("Add", [product(b, given), given("c", "float32", VOCABULARY)])],
    ["W,1,c", (b, given) => b.op("Add", [given("c", "float32", 1, VOCABULARY), product(b, given)])],
    [
      "W,1,c",
      (b, given) =>
        b.op("Gemm", [
          "h",
          given("W", "float32", K, VOCABULARY),
          given("c", "float32", VOCABULARY),
        ]),
    ],
  ];
  for (const [expected, emit] of found) assertEquals(headOf(emit), expected);
});

/** A product with integers [K, VOCABULARY] and scales of these dimensions. */
const integers = (
  dtype: DataType,
  scales: readonly number[],
  attributes: Readonly<Record<string, number>> = {},
): Emit =>
(b, given) => {
  const all = Object.entries(attributes).map(([name, value]) => [name, int(value)]);
  const inputs = [given("q", dtype, K, VOCABULARY), given("s", "float32", ...scales)];
  const weight = b.op("DequantizeLinear", inputs, Object.fromEntries(all));
  return b.op("MatMul", ["h", weight]);
};

Deno.test("findChunkableHead() takes columns apart where their scales come apart, too", () => {
  for (const scales of [[VOCABULARY], [], [1]]) {
    assertEquals(headOf(integers("int8", scales)).split(",")[1], "1");
  }
  const blocks = { axis: 0, block_size: 8 };
  assertEquals(headOf(integers("int8", [K / 8, VOCABULARY], blocks)).split(",")[1], "1");
  const across = { axis: 1, block_size: 8 };
  for (
    const emit of [
      integers("int8", [K], { axis: 0 }),
      integers("int8", [K, VOCABULARY / 8], across),
      integers("int4", [VOCABULARY]),
    ]
  ) assertEquals(headOf(emit), "whole");
});

Deno.test("findChunkableHead() leaves whole what is trained, computed otherwise or narrow", () => {
  const biased: Emit = (b, given) =>
    b.op("Add", [product(b, given), given("c", "float32", VOCABULARY)]);
  assertEquals(headOf(product, ["W"]), "whole");
  assertEquals(headOf(biased, ["c"]), "whole");
  const others: readonly Emit[] = [
    (b, given) => b.op("Add", [product(b, given), given("c", "float32", ROWS, VOCABULARY)]),
    (b, given) =>
      b.op("Add", [product(b, given), b.op("MatMul", ["h", given("V", "float32", K, VOCABULARY)])]),
    (b, given) => b.op("Tanh", [product(b, given)]),
  ];
  for (const emit of others) assertEquals(headOf(emit), "whole");
  assertEquals(headOf(product, [], VOCABULARY), "narrow");
});

Deno.test("wideProducts() finds the products behind a bias, an adapter and a soft cap", () => {
  const b = new GraphBuilder(inferTraining);
  const h = b.input("h", "float32", [ROWS, K]);
  const given = (name: string, ...dims: number[]) => b.variable(name, zeros("float32", ...dims));
  const base = b.op("MatMul", [h, given("W", K, VOCABULARY)]);
  const low = b.op("MatMul", [h, given("A", K, 2)]);
  const update = b.op("MatMul", [low, given("B", 2, VOCABULARY)]);
  const capped = b.op("Tanh", [b.op("Add", [base, b.op("Mul", [update, given("s", 1)])])]);
  const graph = b.build("g", [b.op("Mul", [given("c", 1), capped])]);
  assertEquals(wideProducts(graph, 32), new Set([base, update]));
  assertEquals(wideProducts(graph, VOCABULARY), new Set());
});

Deno.test("wideProducts() looks once at logits that are added to themselves 60 times", () => {
  const added: Emit = (b, given) => {
    let logits = product(b, given);
    for (let i = 0; i < 60; i++) logits = b.op("Add", [logits, logits]);
    return logits;
  };
  assertEquals(headOf(added), "whole");
});
