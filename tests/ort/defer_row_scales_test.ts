import { assert, assertEquals } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, type Tensor } from "../../src/graph/tensor.ts";
import { emitQuantizedLinear } from "../../src/ops/internal/quantized_linear.ts";
import { rotationNode } from "../../src/ops/internal/rotation.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { callOf } from "../../src/plan/call.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { runEmitted } from "../helpers/emitted.ts";
import { codesOf } from "../helpers/numbers.ts";

const random = Random.fromSeed(7);
const signed = () => random.next() / 2 ** 31 - 1;
const numbers = (rows: number, columns: number, scale: (row: number) => number): Tensor =>
  float32(
    [rows, columns],
    Float32Array.from({ length: rows * columns }, (_, i) =>
      signed() * scale(Math.floor(i / columns))),
  );
const codes = (rows: number, columns: number) => codesOf(random, rows, columns);

/** Rows of very different sizes, one of zeros. */
const x = numbers(5, 64, (row) => [1, 1e-6, 300, 0, 0.02][row]);
const inputs = { x, gate: numbers(5, 64, () => 1), up: codes(64, 64), down: codes(32, 64) };
const DEFERRING = { defersScales: true };
const linear = (b: GraphBuilder, x: string, weight: string) =>
  emitQuantizedLinear(b, { x, weight, transB: true });

/** Two products with rows between them. */
function chain(between: (b: GraphBuilder, up: string) => string) {
  return (b: GraphBuilder) => {
    const up = linear(b, "x", "up");
    return { up, y: linear(b, between(b, up), "down") };
  };
}

/** Passes over all of the first product's rows by their scales, where its value is not asked for. */
function passes(emit: ReturnType<typeof chain>): number {
  const b = new GraphBuilder(inferTraining);
  for (const [name, { dtype, dims }] of Object.entries(inputs)) b.input(name, dtype, dims);
  const { y } = emit(b);
  const { nodes } = callOf(b, "test", new Map([[y, "y"]]), DEFERRING).graph;
  const products = nodes.filter(({ opType }) => opType === "MatMulIntegerToFloat");
  const made = new Set(products.map(({ outputs }) => outputs[0]));
  return nodes.filter(({ opType, inputs }) => opType === "Mul" && made.has(inputs[0])).length;
}

const LINEAR = {
  "by way of nothing": chain((_, up) => up),
  "by way of factors and sums": chain((b, up) => {
    const gated = b.op("Mul", ["gate", up]);
    return b.op("Sub", [b.op("Add", [gated, up]), b.op("Mul", [gated, "gate"])]);
  }),
  "by way of a rotation": chain((b, up) => b.emit({ ...rotationNode(up, 32), outputCount: 1 })[0]),
};

for (const [how, emit] of Object.entries(LINEAR)) {
  Deno.test(`withRowScalesDeferred() computes the same with a pass less, ${how}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    assertEquals(passes(emit), 1);
    const [deferred] = await runEmitted(runner, inputs, (b) => [emit(b).y], DEFERRING);
    const [at] = await runEmitted(runner, inputs, (b) => [emit(b).y]);
    const size = Math.max(...Array.from(at, Math.abs));
    assert(size > 0);
    for (let row = 0; row < 5; row++) {
      const [a, c] = [deferred, at].map((values) =>
        Array.from(values).slice(32 * row, 32 * row + 32)
      );
      const largest = Math.max(...c.map(Math.abs));
      // A code may fall to the other side of a half.
      c.forEach((value, i) => assert(Math.abs(value - a[i]) <= 0.02 * largest, `${value} ${a[i]}`));
    }
  });
}

Deno.test("withRowScalesDeferred() leaves rows that are not linear in their scales, or read elsewhere", () => {
  assertEquals(passes(chain((b, up) => b.op("Mul", [up, up]))), 2);
  assertEquals(passes(chain((b, up) => b.op("Add", [up, "gate"]))), 2);
  assertEquals(passes(chain((b, up) => b.op("Sigmoid", [up]))), 2);
  assertEquals(
    passes((b) => {
      const { up, y } = chain((_, up) => up)(b);
      return { up, y: b.op("MatMul", [y, b.op("MatMul", [b.op("Transpose", [y]), up])]) };
    }),
    2,
  );
});
