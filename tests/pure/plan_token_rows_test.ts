import { assertEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { TokenRows } from "../../src/plan/token_rows.ts";

const SHAPE = { batch: 2, length: 3 };
const ROWS = SHAPE.batch * SHAPE.length;
const WIDTH = 4;

const filled = (...dims: number[]) =>
  float32(dims, new Float32Array(dims.reduce((size, dim) => size * dim, 1)).fill(1));

/** Whether what a node makes of x, float32 [6, 4], a row a token, holds a row a token. */
function keepsRows(emit: (b: GraphBuilder, x: string) => string): boolean {
  const b = new GraphBuilder(inferTraining);
  b.input("input_ids", "int64", [SHAPE.batch, SHAPE.length]);
  const table = b.variable("embedding", filled(9, WIDTH));
  const x = b.reshape(b.op("Gather", [table, "input_ids"]), [ROWS, WIDTH]);
  const y = emit(b, x);
  return new TokenRows(b.build("rows", [y]), SHAPE).leadOf(y) !== undefined;
}

Deno.test("TokenRows follows a Gemm whose rows are those of its first operand", () => {
  const gemm = (c: readonly number[]) => (b: GraphBuilder, x: string) =>
    b.op("Gemm", [x, b.variable("w", filled(WIDTH, 5)), b.variable("c", filled(...c))]);
  assertEquals(keepsRows(gemm([5])), true);
  assertEquals(keepsRows(gemm([1, 5])), true);
  assertEquals(keepsRows(gemm([ROWS, 5])), false);
  // Read transposed, a square of tokens has their number of rows, too.
  assertEquals(
    keepsRows((b, x) => {
      const square = b.op("MatMul", [x, b.variable("w", filled(WIDTH, ROWS))]);
      return b.op("Gemm", [square, b.variable("v", filled(ROWS, 5))], { transA: int(1) });
    }),
    false,
  );
});

Deno.test("TokenRows follows every operator that works entry by entry or row by row", () => {
  const zero = (b: GraphBuilder) => b.scalar(0);
  const ways: Record<string, (b: GraphBuilder, x: string) => string> = {
    GreaterOrEqual: (b, x) => b.op("GreaterOrEqual", [x, zero(b)]),
    Sign: (b, x) => b.op("Sign", [x]),
    Floor: (b, x) => b.op("Floor", [x]),
    Sum: (b, x) => b.op("Sum", [x, x, x]),
    PRelu: (b, x) => b.op("PRelu", [x, zero(b)]),
    LogSoftmax: (b, x) => b.op("LogSoftmax", [x], { axis: int(-1) }),
    ReduceL2: (b, x) => b.op("ReduceL2", [x, b.int64s([-1])]),
  };
  for (const [name, emit] of Object.entries(ways)) assertEquals(keepsRows(emit), true, name);
  assertEquals(keepsRows((b, x) => b.op("LogSoftmax", [x], { axis: int(0) })), false);
  assertEquals(keepsRows((b, x) => b.op("ReduceL2", [x, b.int64s([0])])), false);
  assertEquals(keepsRows((b, x) => b.op("CumSum", [x, zero(b)])), false);
});
