import { assert, assertEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { fuse } from "../../src/plan/fuse.ts";

const WIDTH = 1500; // large enough that nothing made from weights is folded

/** A graph over x [2, 3, WIDTH] with vectors `scale` and `bias`. */
function graphOf(emit: (b: GraphBuilder) => string): Graph {
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [2, 3, WIDTH]);
  for (const name of ["scale", "bias"]) {
    b.variable(name, float32([WIDTH], new Float32Array(WIDTH).fill(0.5)));
  }
  return b.build("g", [emit(b)]);
}

const opsOf = (graph: Graph) => graph.nodes.map((node) => node.opType);
const mean = (b: GraphBuilder, x: string, axis = -1) => b.op("ReduceMean", [x, b.int64s([axis])]);

/** √(mean(x²) + ε), the square by either operator. */
function root(b: GraphBuilder, x: string, square: "Pow" | "Mul", axis = -1): string {
  const squared = b.op(square, [x, square === "Mul" ? x : b.scalar(2)]);
  return b.op("Sqrt", [b.op("Add", [mean(b, squared, axis), b.scalar(1e-6)])]);
}

function decomposed(b: GraphBuilder, axis = -1): string {
  const centred = b.op("Sub", ["x", mean(b, "x", axis)]);
  const normalised = b.op("Div", [centred, root(b, centred, "Pow", axis)]);
  return b.op("Add", ["bias", b.op("Mul", [normalised, "scale"])]);
}

Deno.test("fuse() puts a LayerNormalization back together, with its statistics", () => {
  const graph = graphOf(decomposed);
  const fused = fuse(graph);
  assertEquals(opsOf(fused), ["LayerNormalization"]);
  const [node] = fused.nodes;
  assertEquals(node.inputs, ["x", "scale", "bias"]);
  assert(Math.abs((node.attributes.epsilon.value as number) - 1e-6) < 1e-12);
  assertEquals(fused.outputs, graph.outputs);
  assertEquals(fused.valueInfo.get(node.outputs[2])?.type?.shape, [2, 3, 1]);
});

Deno.test("fuse() puts a root-mean-square normalisation back together, however it divides", () => {
  const reciprocal = (b: GraphBuilder) =>
    b.op("Mul", ["scale", b.op("Mul", ["x", b.op("Reciprocal", [root(b, "x", "Pow")])])]);
  const quotient = (b: GraphBuilder) =>
    b.op("Mul", [b.op("Div", ["x", root(b, "x", "Mul")]), "scale"]);
  for (const emit of [reciprocal, quotient]) {
    assertEquals(opsOf(fuse(graphOf(emit))), ["SimplifiedLayerNormalization"]);
  }
});

Deno.test("fuse() puts GELU back together, in every order of its factors", () => {
  const one = (b: GraphBuilder, x: string) =>
    b.op("Add", [b.op("Erf", [b.op("Div", [x, b.scalar(Math.SQRT2)])]), b.scalar(1)]);
  const multiplied = (b: GraphBuilder, x: string) =>
    b.op("Add", [b.scalar(1), b.op("Erf", [b.op("Mul", [b.scalar(Math.SQRT1_2), x])])]);
  const orders: ((b: GraphBuilder) => string)[] = [
    (b) => b.op("Mul", [b.op("Mul", ["x", one(b, "x")]), b.scalar(0.5)]),
    (b) => b.op("Mul", ["x", b.op("Mul", [one(b, "x"), b.scalar(0.5)])]),
    (b) => b.op("Mul", [b.op("Mul", [b.scalar(0.5), "x"]), multiplied(b, "x")]),
  ];
  for (const emit of orders) {
    const fused = fuse(graphOf(emit));
    assertEquals(opsOf(fused), ["Gelu"]);
    assertEquals(fused.nodes[0].inputs, ["x"]);
  }
});

Deno.test("fuse() leaves alone what only looks like a pattern", () => {
  const otherAxis = graphOf((b) => decomposed(b, 1));
  const otherValue = graphOf((b) => {
    const centred = b.op("Sub", ["x", mean(b, "x")]);
    const normalised = b.op("Div", [centred, root(b, "x", "Pow")]);
    return b.op("Add", ["bias", b.op("Mul", [normalised, "scale"])]);
  });
  const notHalf = graphOf((b) => {
    const erf = b.op("Erf", [b.op("Div", ["x", b.scalar(Math.SQRT2)])]);
    const product = b.op("Mul", ["x", b.op("Add", [erf, b.scalar(1)])]);
    return b.op("Mul", [product, b.scalar(0.25)]);
  });
  for (const graph of [otherAxis, otherValue, notHalf]) {
    assertEquals(opsOf(fuse(graph)), opsOf(graph));
  }
});

Deno.test("fuse() keeps what other nodes read of a pattern's inside", () => {
  const graph = graphOf((b) => {
    const centred = b.op("Sub", ["x", mean(b, "x")]);
    const normalised = b.op("Div", [centred, root(b, centred, "Pow")]);
    const whole = b.op("Add", ["bias", b.op("Mul", [normalised, "scale"])]);
    return b.emit({
      opType: "Concat",
      domain: "",
      inputs: [whole, centred],
      attributes: { axis: int(0) },
    })[0];
  });
  assertEquals(opsOf(fuse(graph)), ["ReduceMean", "Sub", "LayerNormalization", "Concat"]);
});
