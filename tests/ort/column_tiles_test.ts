import { assertEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { elementCount, float32 } from "../../src/graph/tensor.ts";
import { geluAndSlopeNode } from "../../src/ops/internal/gelu_and_slope.ts";
import { emitQuantizedLinear } from "../../src/ops/internal/quantized_linear.ts";
import { rotationNode } from "../../src/ops/internal/rotation.ts";
import { swigluAndFactorsNode } from "../../src/ops/internal/swiglu.ts";
import type { Graph } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { callOf, type CallOptions } from "../../src/plan/call.ts";
import { emitStored } from "../../src/plan/kept_form.ts";
import { signedGraph } from "../../src/plan/signed_activations.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { runEmitted } from "../helpers/emitted.ts";
import { codesOf, numbersFor } from "../helpers/numbers.ts";
import { testOnEachOrt } from "../helpers/oldest_ort.ts";

const random = Random.fromSeed(11);
const floats = (text: string, ...dims: number[]) =>
  float32(dims, numbersFor(text, elementCount(dims)));
const codes = (rows: number, columns: number) => codesOf(random, rows, columns);

const ROWS = 5;
const WIDTH = 32;
/** Six tiles, as 1536 columns are four. */
const COLUMNS = 2304;
const inputs = {
  x: floats("x", ROWS, WIDTH),
  gate: codes(COLUMNS, WIDTH),
  up: codes(COLUMNS, WIDTH),
  scales: floats("scales", COLUMNS),
  down: codes(WIDTH, COLUMNS),
  kept: codes(ROWS, COLUMNS),
  rowScales: floats("rows", ROWS),
};
const EIGHT_BITS: CallOptions = { defersScales: true };

/** The way through a gated layer that leaves what its way back reads. */
function forward(b: GraphBuilder): readonly string[] {
  const [gate, up] = ["gate", "up"].map((weight) =>
    emitQuantizedLinear(b, { x: "x", weight, transB: true, post: "scales" })
  );
  const unit = b.emit({ ...swigluAndFactorsNode(gate, up), outputCount: 3 });
  const rotated = b.emit({ ...rotationNode(unit[0], 32), outputCount: 1 })[0];
  const y = emitQuantizedLinear(b, { x: rotated, weight: "down", transB: true });
  return [y, ...unit.slice(1).flatMap((value) => [...emitStored(b, value, "int8").keys()])];
}

/** The way back from its output to its input. */
function backward(b: GraphBuilder): readonly string[] {
  const ct = emitQuantizedLinear(b, { x: "x", weight: "down", transB: false });
  const rotated = b.emit({ ...rotationNode(ct, 32), outputCount: 1 })[0];
  const factor = b.op("DequantizeLinear", ["kept", "rowScales"], { axis: int(0) });
  const gate = b.op("Mul", [rotated, factor]);
  return [emitQuantizedLinear(b, { x: gate, weight: "gate", transB: false, pre: "scales" })];
}

/** The way through a layer with GELU, of rows of one sequence, that leaves the slope. */
function geluForward(b: GraphBuilder): readonly string[] {
  const x = b.reshape("x", [1, ROWS, WIDTH]);
  const wide = emitQuantizedLinear(b, { x, weight: "gate", transB: true, post: "scales" });
  const [y, slope] = b.emit({ ...geluAndSlopeNode(b.op("Add", [wide, "scales"])), outputCount: 2 });
  return [emitQuantizedLinear(b, { x: y, weight: "down", transB: true }), slope];
}

/** The way back through it. */
function geluBackward(b: GraphBuilder): readonly string[] {
  const x = b.reshape("x", [1, ROWS, WIDTH]);
  const ct = emitQuantizedLinear(b, { x, weight: "down", transB: false });
  const kept = b.reshape("kept", [1, ROWS, COLUMNS]);
  const slope = b.op("DequantizeLinear", [kept, b.scalar(0.005)]);
  const wide = b.op("Mul", [ct, slope]);
  return [emitQuantizedLinear(b, { x: wide, weight: "gate", transB: false, pre: "scales" })];
}

/** Both in one call, which keeps nothing of the first: the slope is rounded and read again. */
function geluAgain(b: GraphBuilder): readonly string[] {
  const x = b.reshape("x", [1, ROWS, WIDTH]);
  const wide = emitQuantizedLinear(b, { x, weight: "gate", transB: true, post: "scales" });
  const [, slope] = b.emit({ ...geluAndSlopeNode(b.op("Add", [wide, "scales"])), outputCount: 2 });
  const ct = emitQuantizedLinear(b, { x, weight: "down", transB: false });
  const back = b.op("Mul", [ct, b.op("DequantizeLinear", [slope, b.scalar(0.005)])]);
  return [emitQuantizedLinear(b, { x: back, weight: "gate", transB: false, pre: "scales" })];
}

function graphOf(emit: (b: GraphBuilder) => readonly string[], options: CallOptions): Graph {
  const b = new GraphBuilder(inferTraining);
  for (const [name, { dtype, dims }] of Object.entries(inputs)) b.input(name, dtype, dims);
  const outputs = new Map(emit(b).map((value, i) => [value, `y${i}`]));
  return callOf(b, "test", outputs, options).graph;
}

const operators = (...how: Parameters<typeof graphOf>) =>
  graphOf(...how).nodes.map(({ opType }) => opType);

const countOf = (all: readonly string[], opType: string) =>
  all.filter((other) => other === opType).length;

for (
  const [name, emit, products] of [
    ["forward", forward, 2],
    ["backward", backward, 1],
    ["forward through GELU", geluForward, 1],
    ["backward through GELU", geluBackward, 1],
    ["forward and backward through GELU", geluAgain, 2],
  ] as const
) {
  testOnEachOrt(
    `withColumnTiles() computes the same numbers tile by tile, ${name}`,
    async (ortLib) => {
      using runner = createOrtRunner({ threads: 1, ortLib });
      const whole = operators(emit, EIGHT_BITS);
      const tiled = operators(emit, { ...EIGHT_BITS, inTiles: true });
      const product = "MatMulIntegerToFloat";
      assertEquals(countOf(tiled, product) - countOf(whole, product), 5 * products);
      const at = await runEmitted(runner, inputs, emit, EIGHT_BITS);
      const inTiles = await runEmitted(runner, inputs, emit, { ...EIGHT_BITS, inTiles: true });
      assertEquals(inTiles, at);
    },
  );
}

Deno.test("withColumnTiles() leaves whole what is read whole, and what nothing is computed of", () => {
  const linear = (b: GraphBuilder) =>
    emitQuantizedLinear(b, { x: "x", weight: "gate", transB: true });
  const same = (emit: (b: GraphBuilder) => readonly string[]) =>
    assertEquals(
      operators(emit, { ...EIGHT_BITS, inTiles: true }),
      operators(emit, EIGHT_BITS),
    );
  same((b) => [linear(b)]);
  same((b) => [b.op("Softmax", [b.op("Sigmoid", [linear(b)])], { axis: int(-1) })]);
  same((b) => {
    const unit = b.op("Sigmoid", [linear(b)]);
    return [unit, emitQuantizedLinear(b, { x: unit, weight: "down", transB: true })];
  });
});

Deno.test("signedGraph() makes the codes of tiles signed, as those of what is whole", () => {
  const unsigned = ({ nodes, initializers }: Graph) =>
    nodes.filter(({ opType, inputs }) =>
      opType === "MatMulIntegerToFloat" && initializers.get(inputs[4])?.dtype !== "int8"
    ).length;
  const graph = graphOf(forward, { ...EIGHT_BITS, inTiles: true });
  assertEquals(unsigned(graph), 13, "two products in six tiles, and one of what they make");
  // What comes of x is read by all twelve, what the tiles round to by the last.
  assertEquals(unsigned(signedGraph(graph)), 0);
});
