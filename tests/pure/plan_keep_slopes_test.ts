import { assertEquals } from "@std/assert";
import { int, string } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { tensor } from "../../src/graph/tensor.ts";
import { emitQuantizedLinear } from "../../src/ops/internal/quantized_linear.ts";
import { rotationNode } from "../../src/ops/internal/rotation.ts";
import { swigluNode } from "../../src/ops/internal/swiglu.ts";
import { geluAndSlopeNode } from "../../src/ops/internal/gelu_and_slope.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { callOf } from "../../src/plan/call.ts";
import { keepSlopes } from "../../src/plan/keep_slopes.ts";

const K = 8;

/** The operators of a graph that ends with what `emit` makes of x [2, K] and a weight. */
function operators(emit: (b: GraphBuilder, x: string, weight: string) => string): string[] {
  const b = new GraphBuilder(inferTraining);
  const x = b.input("x", "float32", [2, K]);
  const weight = b.variable("W", tensor("int8", [K, K], new Uint8Array(K * K)));
  const graph = keepSlopes(b.build("g", [emit(b, x, weight)]));
  return graph.nodes.map(({ opType, outputs }) => `${opType} ${outputs.length}`);
}

const linear = (b: GraphBuilder, x: string, weight: string) =>
  emitQuantizedLinear(b, { x, weight, transB: false });

Deno.test("keepSlopes() leaves the slope of a GELU that products in 8 bits alone read", () => {
  const kept = ["GeluAndSlope 2", "QuantizedLinear 1"];
  assertEquals(operators((b, x, w) => linear(b, b.microsoft("Gelu", [x]), w)), kept);
  assertEquals(operators((b, x, w) => linear(b, b.op("Gelu", [x]), w)), kept);
  const rotated = (b: GraphBuilder, x: string, w: string) => {
    const [y] = b.emit({ ...rotationNode(b.microsoft("Gelu", [x]), 4), outputCount: 1 });
    return linear(b, y, w);
  };
  assertEquals(operators(rotated)[0], "GeluAndSlope 2");
});

Deno.test("keepSlopes() leaves the factors of a gated unit that products in 8 bits alone read", () => {
  const gated = (b: GraphBuilder, x: string) =>
    b.emit({ ...swigluNode(x, b.op("Neg", [x])), outputCount: 1 })[0];
  const [, unit] = operators((b, x, w) => linear(b, gated(b, x), w));
  assertEquals(unit, "SwiGLUAndFactors 3");
  const [, viewed] = operators((b, x, w) => linear(b, b.reshape(gated(b, x), [1, 2, K]), w));
  assertEquals(viewed, "SwiGLUAndFactors 3");
  const [, alone] = operators((b, x, w) => {
    const y = gated(b, x);
    return b.op("Add", [linear(b, y, w), y]);
  });
  assertEquals(alone, "SwiGLU 1");
});

Deno.test("keepSlopes() leaves alone what others read, and other functions", () => {
  const tanh = { approximate: string("tanh") };
  assertEquals(
    [
      operators((b, x) => b.op("Add", [b.microsoft("Gelu", [x]), x])),
      operators((b, x, w) => {
        const y = b.microsoft("Gelu", [x]);
        return b.op("Add", [linear(b, y, w), y]);
      }),
      operators((b, x) => b.microsoft("Gelu", [x])),
      operators((b, x, w) => linear(b, b.op("Gelu", [x], tanh), w)),
      operators((b, x, w) => linear(b, b.op("Softmax", [x], { axis: int(-1) }), w)),
    ].map(([first]) => first),
    ["Gelu 1", "Gelu 1", "Gelu 1", "Gelu 1", "Softmax 1"],
  );
});

Deno.test("callOf() computes no slope that nobody wants", () => {
  const operatorsOf = (wanted: number[]) => {
    const b = new GraphBuilder(inferTraining);
    const x = b.input("x", "float32", [2, K]);
    const made = b.emit({ ...geluAndSlopeNode(x), outputCount: 2 });
    const outputs = new Map(wanted.map((i) => [made[i], `result ${i}`]));
    return callOf(b, "test", outputs).graph.nodes.map(({ opType }) => opType);
  };
  assertEquals(operatorsOf([0]), ["Mul", "Erf", "HardSigmoid", "Mul"]);
  assertEquals(operatorsOf([0, 1]).at(-1), "QuantizeLinear");
});
