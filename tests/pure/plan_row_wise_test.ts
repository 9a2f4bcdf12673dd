import { assertEquals } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { asDims } from "../../src/graph/extents.ts";
import { type Size, Sizes } from "../../src/graph/size.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { callOf } from "../../src/plan/call.ts";
import { rowAxes } from "../../src/plan/row_wise.ts";

const [WIDTH, OUT] = [8, 16];

/** Axes of what a call reads and leaves, by the names in the step; `undefined` where it is not row-wise. */
function axesOf(
  emit: (b: GraphBuilder, values: { x: string; ct: string; w: string }) => string,
): Readonly<Record<string, number>> | undefined {
  const sizes = new Sizes(new Map([["rows", 6], ["length", 7]]));
  const rows = sizes.symbol("rows") as Size;
  const b = new GraphBuilder(inferTraining);
  const values = {
    x: b.input("x", "float32", asDims([1, rows, WIDTH])),
    ct: b.input("ct", "float32", asDims([rows, OUT])),
    w: b.input("w", "float32", [WIDTH, OUT]),
  };
  b.input("earlier", "float32", [WIDTH, OUT]);
  b.input("positions", "float32", asDims([sizes.symbol("length"), WIDTH]));
  const call = callOf(b, "call", new Map([[emit(b, values), "y"]]));
  const axes = rowAxes(call, rows);
  const names = [...call.feeds, ...call.fetches];
  return axes && Object.fromEntries(
    names.filter(([name]) => axes.has(name)).map((
      [canonical, name],
    ) => [name, axes.get(canonical)!]),
  );
}

/** xᵀ·ct, a sum over rows. */
const gradient = (b: GraphBuilder, { x, ct }: { x: string; ct: string }) =>
  b.op("Gemm", [b.op("Reshape", [x, b.int64s([-1, WIDTH])]), ct], { transA: int(1) });

Deno.test("rowAxes() finds rows through products, norms, roundings and views", () => {
  assertEquals(
    axesOf((b, { x, w }) => b.op("Sigmoid", [b.op("MatMul", [x, w])])),
    { x: 1, y: 1 },
  );
  assertEquals(
    axesOf((b, { x, ct, w }) => {
      const flat = b.op("Gemm", [ct, w], { transB: int(1) });
      const most = b.op("ReduceMax", [flat, b.int64s([1])]);
      const zero = b.constant({ dtype: "uint8", dims: [], bytes: new Uint8Array(1) });
      const rounded = b.op("QuantizeLinear", [
        flat,
        b.op("Reshape", [most, b.int64s([-1])]),
        zero,
      ], { axis: int(0) });
      const restored = b.op("Cast", [rounded], { to: int(1) });
      return b.op("Add", [x, restored]);
    }),
    { x: 1, ct: 0, y: 1 },
  );
});

Deno.test("rowAxes() takes sums over rows that are added to earlier ones", () => {
  assertEquals(axesOf((b, values) => b.op("Add", ["earlier", gradient(b, values)])), {
    x: 1,
    ct: 0,
  });
});

const REFUSED: Readonly<Record<string, Parameters<typeof axesOf>[0]>> = {
  "a sum by itself": gradient,
  "a function of a sum": (b, values) =>
    b.op("Add", ["earlier", b.op("Exp", [gradient(b, values)])]),
  "a product of sums": (b, values) => {
    const sum = gradient(b, values);
    return b.op("Add", ["earlier", b.op("Mul", [sum, sum])]);
  },
  "a sum beside rows": (b, values) => b.op("MatMul", [values.x, gradient(b, values)]),
  "a sum that goes on": (b, values) => b.op("Neg", [b.op("Add", ["earlier", gradient(b, values)])]),
  "a share of all rows": (b, { ct }) => b.op("Softmax", [ct], { axis: int(0) }),
  "the largest of all rows": (b, { ct }) =>
    b.op("Sub", [ct, b.op("ReduceMax", [ct, b.int64s([0])])]),
  "another number of rows": (b, { w }) => b.op("MatMul", ["positions", w]),
  "chosen rows": (b, { ct }) => b.op("Gather", [ct, b.int64s([0, 1])], { axis: int(0) }),
  "rows in another order": (b, { ct }) => b.op("Transpose", [ct]),
  "a call without rows": (b, { w }) => b.op("Neg", [b.op("Exp", [w])]),
  "rows in reverse": (b, { ct }) =>
    b.op("Slice", [ct, ...[-1, -(2 ** 31), 0, -1].map((number) => b.int64s([number]))]),
};
for (const [what, emit] of Object.entries(REFUSED)) {
  Deno.test(`rowAxes() refuses ${what}`, () => assertEquals(axesOf(emit), undefined));
}
