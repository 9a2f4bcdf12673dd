/** Masks of -∞ must not turn gradients into not-a-number. */
import { assert, assertEquals } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { bool, float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import { inferTraining, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { runHost } from "../helpers/numbers.ts";
import { testOnEachOrt } from "../helpers/oldest_ort.ts";

/** d(Σ y)/dx of a graph in x and mask. */
async function gradient(
  ortLib: string | undefined,
  make: (b: GraphBuilder) => string,
  feeds: Record<string, Tensor>,
): Promise<number[]> {
  const b = new GraphBuilder(inferTraining);
  for (const [name, { dtype, dims }] of Object.entries(feeds)) b.input(name, dtype, dims);
  const y = make(b);
  const nodes = [...b.nodes];
  const ones = b.op("Expand", [b.scalar(1), b.int64s(b.dims(y))]);
  const dx = pullback(b, nodes, new Map([[y, ones]]), new Set(["x"])).get("x")!;
  using runner = createOrtRunner({ threads: 1, ortLib });
  using executable = await runner.compile({
    irVersion: 10,
    opsets: TRAINING_OPSETS,
    metadata: {},
    graph: b.build("masked", [dx]),
  });
  const found = await runHost(runner, executable, feeds);
  return Array.from(toNumbers(found[dx]));
}

testOnEachOrt(
  "attention as PyTorch exports it has a zero gradient where a row sees nothing",
  async (ortLib) => {
    const scores = float32([3, 2], [0.5, -1, 2, 1, 0.3, 0.7]);
    const visible = bool([3, 2], [1, 1, 0, 0, 1, 0]);
    const dx = await gradient(ortLib, (b) => {
      const zero = b.scalar(0);
      const bias = b.op("Where", ["visible", zero, b.scalar(-Infinity)]);
      const weights = b.op("Softmax", [b.op("Add", ["x", bias])], { axis: int(-1) });
      const safe = b.op("Where", [b.op("IsNaN", [weights]), zero, weights]);
      const values = b.constant(float32([2, 1], [1, 3]));
      return b.op("MatMul", [safe, values]);
    }, { x: scores, visible });
    assert(dx.every(Number.isFinite), `gradient is [${dx}]`);
    assertEquals(dx.slice(2, 4), [0, 0]);
    assertEquals(dx.slice(4).map((g) => Math.abs(g) < 1e-6), [true, true]);
    assert(Math.abs(dx[0] + dx[1]) < 1e-6 && Math.abs(dx[1]) > 0.1);
  },
);

testOnEachOrt(
  "a function that is not a number where it is not selected leaves others' gradients alone",
  async (ortLib) => {
    const dx = await gradient(ortLib, (b) => {
      const shifted = b.op("Where", ["visible", "x", b.scalar(NaN)]);
      return b.op("Where", ["visible", b.op("Mul", [shifted, shifted]), b.scalar(0)]);
    }, { x: float32([2], [2, 5]), visible: bool([2], [1, 0]) });
    assertEquals(dx, [4, 0]);
  },
);

testOnEachOrt("rows scattered to the same place add up on several threads", async (ortLib) => {
  const rows = 4096;
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [2, 64]);
  b.input("ids", "int64", [rows]);
  const y = b.op("Gather", ["x", "ids"]);
  const nodes = [...b.nodes];
  const ct = b.input("ct", "float32", [rows, 64]);
  const dx = pullback(b, nodes, new Map([[y, ct]]), new Set(["x"])).get("x")!;
  using runner = createOrtRunner({ ortLib });
  using executable = await runner.compile({
    irVersion: 10,
    opsets: TRAINING_OPSETS,
    metadata: {},
    graph: b.build("scattered", [dx]),
  });
  const found = await runHost(runner, executable, {
    x: float32([2, 64], new Float32Array(128)),
    ids: { dtype: "int64", dims: [rows], bytes: new Uint8Array(rows * 8) },
    ct: float32([rows, 64], new Float32Array(rows * 64).fill(1)),
  });
  const sums = Array.from(toNumbers(found[dx]));
  assertEquals(new Set(sums.slice(0, 64)), new Set([rows]));
  assertEquals(new Set(sums.slice(64)), new Set([0]));
});
