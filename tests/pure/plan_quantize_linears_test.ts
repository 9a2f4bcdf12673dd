import { assert, assertEquals, assertThrows } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, type Tensor, tensor } from "../../src/graph/tensor.ts";
import type { Graph, Node } from "../../src/graph/types.ts";
import { emitQuantizedLinear, QuantizedLinear } from "../../src/ops/internal/quantized_linear.ts";
import { hadamard, rotationBlock, rotationNode } from "../../src/ops/internal/rotation.ts";
import { allRules, inferTraining } from "../../src/ops/registry.ts";
import { callOf } from "../../src/plan/call.ts";
import { quantizeLinears } from "../../src/plan/quantize_linears.ts";

const K = 96;
const N = 64;

const floats = (...dims: number[]): Tensor =>
  float32(dims, new Float32Array(dims.reduce((count, dim) => count * dim, 1)).fill(0.5));
const codes = (dtype: "int8" | "uint8", ...dims: number[]): Tensor =>
  tensor(dtype, dims, new Uint8Array(dims.reduce((count, dim) => count * dim, 1)).fill(3));

/** A graph over x [2, 5, K]; `emit` returns its output. */
function graphOf(emit: (b: GraphBuilder) => string): Graph {
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [2, 5, K]);
  return b.build("g", [emit(b)]);
}

/** x · W with W [K, N] stored as integers with scales of these dimensions. */
const stored = (axis: number, scales: number[], zero?: Tensor) =>
  graphOf((b) => {
    const inputs = [
      b.initializer("W", codes(zero?.dtype === "uint8" ? "uint8" : "int8", K, N)),
      b.initializer("s", floats(...scales)),
    ];
    if (zero !== undefined) inputs.push(b.initializer("z", zero));
    return b.op("MatMul", ["x", b.op("DequantizeLinear", inputs, { axis: int(axis) })]);
  });

/** A builder that holds a graph over x, and what is made before the first step. */
function builderOf(graph: Graph, preprocessed: ReadonlySet<string>): GraphBuilder {
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [2, 5, K]);
  for (const name of preprocessed) {
    const { dtype, shape } = graph.valueInfo.get(name)!.type!;
    b.input(name, dtype, shape as number[]);
  }
  for (const [name, value] of graph.initializers) b.initializer(name, value);
  for (const node of graph.nodes) b.add(node);
  return b;
}

const linearOf = (graph: Graph) =>
  graph.nodes.find((node) => node.opType === "QuantizedLinear") as Node;

Deno.test("quantizeLinears() rounds int8 channels anew, rotated, where that is asked for", () => {
  const graph = stored(1, [N]);
  const asTheyLie = quantizeLinears(graph, new Set());
  const rotated = quantizeLinears(graph, new Set(), { rotated: true });
  assertEquals([asTheyLie.readsStored, rotated.readsStored], [true, false]);
  assertEquals(asTheyLie.preprocessing.length, 0);
  assertEquals(rotated.preprocessing.map(({ feeds }) => [...feeds.values()]), [["W", "s"]]);
  assertEquals(rotated.graph.nodes.map(({ opType }) => opType), ["Rotation", "QuantizedLinear"]);
});

Deno.test("quantizeLinears() makes weights both ways round where that is asked for, and none is transposed", () => {
  for (const form of ["u8s8", "u8u8"] as const) {
    for (const rotated of [false, true]) {
      const { graph, preprocessed } = quantizeLinears(stored(1, [N]), new Set(), {
        ...{ form, rotated, bothWays: true },
      });
      const transposed = linearOf(graph).inputs[4];
      assert(preprocessed.has(transposed), transposed);
      const transB = rotated;
      const shape = graph.valueInfo.get(transposed)!.type!.shape;
      assertEquals(shape, transB ? [K, N] : [N, K]);
      const b = builderOf(graph, preprocessed);
      const ct = b.input("ct", "float32", [2, 5, N]);
      const [{ name: y }] = graph.outputs;
      const dx = pullback(b, graph.nodes, new Map([[y, ct]]), new Set(["x"])).get("x")!;
      const expanded = callOf(b, "test", new Map([[y, "y"], [dx, "dx"]]));
      const operators = expanded.graph.nodes.map(({ opType }) => opType);
      assertEquals(operators.filter((operator) => operator === "Transpose"), []);
    }
  }
});

Deno.test("quantizeLinears() reads int8 channels as the file holds them, whichever axis has the scales", () => {
  for (
    const [axis, scales, post, pre] of [[1, [N], "s", ""], [0, [K], "", "s"], [
      1,
      [],
      "s",
      "",
    ]] as const
  ) {
    const { graph, preprocessing } = quantizeLinears(stored(axis, [...scales]), new Set());
    assertEquals(preprocessing, []);
    assertEquals(linearOf(graph).inputs, ["x", "W", post, pre]);
    assertEquals(graph.nodes.length, 1, "nothing is dequantised or rotated");
  }
});

Deno.test("quantizeLinears() moves int8 channels to uint8 once where products want unsigned weights", () => {
  const none: ReadonlySet<string> = new Set();
  const { graph, preprocessing, preprocessed } = quantizeLinears(stored(1, [N]), none, {
    form: "u8u8",
  });
  assertEquals(linearOf(graph).inputs, ["x", "W.uint8", "s", ""]);
  assertEquals(preprocessed, new Set(["W.uint8"]));
  assertEquals(preprocessing.map(({ feeds }) => [...feeds.values()]), [["W"]]);
  assertEquals(graph.valueInfo.get("W.uint8")?.type, { dtype: "uint8", shape: [K, N] });
});

Deno.test("quantizeLinears() pairs the weights that it rounds, and reads those of the file as they are", () => {
  const none: ReadonlySet<string> = new Set();
  const { graph } = quantizeLinears(stored(1, [N]), none, { form: "u8s8_paired" });
  assertEquals(linearOf(graph).inputs, ["x", "W.uint8", "s", ""]);
  const anew = quantizeLinears(stored(1, [N]), none, { form: "u8s8_paired", rotated: true });
  const [, weight] = linearOf(anew.graph).inputs;
  assertEquals(anew.graph.valueInfo.get(weight)?.type, { dtype: "int8", shape: [N, K] });
});

Deno.test("quantizeLinears() takes zero points of 0 for none and rounds weights with others once", () => {
  const symmetric = tensor("int8", [N], new Uint8Array(N));
  assertEquals(quantizeLinears(stored(1, [N], symmetric), new Set()).preprocessing, []);
  const shifted = tensor("uint8", [N], new Uint8Array(N).fill(128));
  const { graph, preprocessing, preprocessed } = quantizeLinears(
    stored(1, [N], shifted),
    new Set(),
  );
  assertEquals(preprocessing.length, 1);
  const [, weight, post] = linearOf(graph).inputs;
  assertEquals(preprocessed, new Set([weight, post]));
  assertEquals(graph.valueInfo.get(weight)?.type, { dtype: "int8", shape: [N, K] });
  assertEquals(
    [...preprocessing[0].feeds.values()],
    ["W", "s", "z"],
    "made of the file's own bytes",
  );
});

Deno.test("quantizeLinears() leaves products with trained, narrow and computed operands in floats", () => {
  const product = (emit: (b: GraphBuilder) => string) =>
    graphOf((b) => b.op("MatMul", ["x", emit(b)]));
  const trained = product((b) => b.variable("A", floats(K, N)));
  const narrow = product((b) => b.initializer("A", floats(K, 8)));
  const computed = product((b) =>
    b.op("Transpose", [b.op("Squeeze", [b.input("y", "float32", [1, N, K]), b.int64s([0])])])
  );
  for (const graph of [trained, narrow, computed]) {
    assertEquals(quantizeLinears(graph, new Set(["A"])).graph.nodes, graph.nodes);
  }
  assertEquals(quantizeLinears(trained, new Set()).preprocessing.length, 1, "frozen it is rounded");
});

Deno.test("quantizeLinears() keeps a Gemm's bias and the value's name", () => {
  const graph = graphOf((b) => {
    const rows = b.reshape("x", [10, K]);
    const [w, c] = [b.initializer("W", floats(N, K)), b.initializer("c", floats(N))];
    return b.op("Gemm", [rows, w, c], { transB: int(1) });
  });
  const { graph: fast } = quantizeLinears(graph, new Set());
  assertEquals(fast.outputs, graph.outputs);
  assertEquals(fast.nodes.map((node) => node.opType), [
    "Reshape",
    "Rotation",
    "QuantizedLinear",
    "Add",
  ]);
  assertEquals(fast.nodes[3].outputs[0], graph.outputs[0].name);
});

Deno.test("a call rounds an activation once for all products that read it", () => {
  const graph = graphOf((b) => {
    // Lowering flattens the tokens anew for each layer.
    const layer = (name: string) =>
      b.op("Gemm", [b.op("Reshape", ["x", b.int64s([10, K])]), b.initializer(name, floats(N, K))], {
        transB: int(1),
      });
    return b.op("Add", [layer("gate"), layer("up")]);
  });
  const { graph: fast, preprocessed } = quantizeLinears(graph, new Set());
  const b = builderOf(fast, preprocessed);
  const { graph: session } = callOf(b, "both", new Map([[fast.outputs[0].name, "y"]]));
  const count = (opType: string) => session.nodes.filter((node) => node.opType === opType).length;
  assertEquals(count("QuantizedLinear"), 0, "ONNX Runtime has no such operator");
  assertEquals(count("MatMulIntegerToFloat"), 2);
  assertEquals(count("QuantizeLinear"), 1);
  assertEquals(count("ReduceMax"), 1);
});

Deno.test("pullback() adds the cotangents of an activation that is read rotated before it rotates their sum", () => {
  const layers = graphOf((b) => {
    const layer = (name: string) => b.op("MatMul", ["x", b.initializer(name, floats(K, N))]);
    return b.op("Add", [layer("gate"), layer("up")]);
  });
  const { graph, preprocessed } = quantizeLinears(layers, new Set());
  const b = builderOf(graph, preprocessed);
  const seeds = new Map([[graph.outputs[0].name, b.input("dy", "float32", [2, 5, N])]]);
  const before = b.nodes.length;
  const dx = pullback(b, graph.nodes, seeds, new Set(["x"])).get("x")!;
  assertEquals(
    b.nodes.slice(before).map(({ opType }) => opType),
    ["QuantizedLinear", "QuantizedLinear", "Add", "Rotation"],
  );
  assertEquals(b.nodes.at(-1)!.outputs, [dx]);
});

Deno.test("QuantizedLinear's cotangent reads the same bytes the other way and exchanges the scales", () => {
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [2, 5, K]);
  b.input("dy", "float32", [2, 5, N]);
  b.input("W", "int8", [N, K]);
  b.input("s", "float32", [N]);
  const y = emitQuantizedLinear(b, { x: "x", weight: "W", transB: true, post: "s" });
  assertEquals(b.dims(y), [2, 5, N]);
  const [dx] = QuantizedLinear.vjp!(b, b.nodes[0], ["dy"], [true, false, false, false]);
  assertEquals(b.dims(dx!), [2, 5, K]);
  const node = b.nodes.at(-1)!;
  assertEquals(node.inputs, ["dy", "W", "", "s"]);
  assertEquals(node.attributes, { transB: int(0) });
});

Deno.test("QuantizedLinear and Rotation refuse operands, scales and blocks that do not fit", () => {
  const infer = (dims: number[], scale: number[]) => {
    const b = new GraphBuilder(inferTraining);
    b.input("x", "float32", dims);
    b.input("W", "int8", [N, K]);
    b.input("s", "float32", scale);
    return emitQuantizedLinear(b, { x: "x", weight: "W", transB: true, post: "s" });
  };
  assertThrows(() => infer([5, K + 1], [N]), RangeError, "operands do not fit");
  assertThrows(() => infer([5, K], [K]), RangeError, `needs ${N} scales`);
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [5, K]);
  const wide = { ...rotationNode("x", 64), outputCount: 1 };
  assertThrows(() => b.emit(wide), RangeError, "a block that divides the last axis");
  assert(infer([K], [N]) !== "", "no leading axis is one row");
});

Deno.test("the rotation is its own inverse and takes the largest block that divides an axis", () => {
  assertEquals([576, 48, 20, 7].map(rotationBlock), [32, 16, 4, 1]);
  for (const n of [1, 2, 32]) {
    const h = hadamard(n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let k = 0; k < n; k++) sum += h[i * n + k] * h[k * n + j];
        assert(Math.abs(sum - Number(i === j)) < 1e-6, `H·H at ${i}, ${j}`);
      }
    }
  }
});

Deno.test("the table of operators lists none that models cannot hold", () => {
  assert(allRules().every(({ domain }) => domain !== "graft"));
});
