/** Broadcasting, folding and axes: what every rule is built from. */
import { assertEquals, assertThrows } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float, ints, tensorValue } from "../../src/graph/attributes.ts";
import { float32, int64, toBigInts, toNumbers } from "../../src/graph/tensor.ts";
import type { Node } from "../../src/graph/types.ts";
import { normalizeAxes } from "../../src/ops/axes.ts";
import { broadcastDims, expandTo, reduceTo } from "../../src/ops/broadcast.ts";
import { FOLD_LIMIT, fromNumbers, rearranged, sourceIndices } from "../../src/ops/fold.ts";
import { inferTraining, inferWith, ruleOf } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";

const builder = () => new GraphBuilder(inferTraining);
const opTypes = (b: GraphBuilder) => b.nodes.map((node) => node.opType);

function node(opType: string, inputs: readonly string[], rest: Partial<Node> = {}): Node {
  return { name: "n", opType, domain: "", inputs, outputs: ["y"], attributes: {}, ...rest };
}

Deno.test("broadcastDims() aligns shapes at their ends", () => {
  assertEquals(broadcastDims([2, 1, 4], [3, 1]), [2, 3, 4]);
  assertEquals(broadcastDims([], [2]), [2]);
  assertEquals(broadcastDims([1], [0]), [0]);
});

Deno.test("broadcastDims() refuses shapes that differ, naming them", () => {
  assertThrows(() => broadcastDims([2, 3], [2, 4]), RangeError, "[2,3] and [2,4]");
  assertThrows(() => broadcastDims([0], [2]), RangeError);
});

Deno.test("reduceTo() and expandTo() emit nothing where shapes are equal", () => {
  const b = builder();
  b.input("x", "float32", [2, 3]);
  assertEquals(reduceTo(b, "x", [2, 3]), "x");
  assertEquals(expandTo(b, "x", [2, 3]), "x");
  assertEquals(b.nodes.length, 0);
});

Deno.test("reduceTo() sums once over all broadcast axes", () => {
  const b = builder();
  b.input("x", "float32", [2, 3, 4]);
  assertEquals(b.dims(reduceTo(b, "x", [3, 1])), [3, 1]);
  assertEquals(opTypes(b), ["ReduceSum", "Reshape"]);
});

Deno.test("normalizeAxes() counts from the end and refuses what is outside or repeated", () => {
  assertEquals(normalizeAxes(node("X", []), [-1, 0], 3), [0, 2]);
  assertThrows(() => normalizeAxes(node("X", []), [3], 3), RangeError, "current value is 3");
  assertThrows(() => normalizeAxes(node("X", []), [0, -3], 3), RangeError, "must not repeat");
});

Deno.test("sourceIndices() walks strides in row-major order", () => {
  assertEquals([...sourceIndices([2, 3], [1, 2], 4)], [4, 6, 8, 5, 7, 9]);
  assertEquals([...sourceIndices([], [], 7)], [7]);
  assertEquals([...sourceIndices([2, 0], [1, 1])], []);
});

Deno.test("rearranged() copies 64-bit sentinels bit for bit", () => {
  const most = 2n ** 63n - 1n;
  const moved = rearranged(int64([2], [1, most]), [2], [1, 0]);
  assertEquals([...toBigInts(moved)], [most, 1n]);
});

Deno.test("fromNumbers() refuses types that are never folded", () => {
  assertThrows(() => fromNumbers("int4", [1], [1]), TypeError, "int4");
});

Deno.test("a shape computed by Shape, Gather, Concat and Reshape leaves one Reshape", () => {
  const b = builder();
  b.input("x", "float32", [2, 5, 12]);
  const shape = b.op("Shape", ["x"]);
  const batch = b.op("Gather", [shape, b.constant(int64([], [0]))]);
  const tokens = b.op("Gather", [shape, b.constant(int64([], [1]))]);
  const axis = b.int64s([0]);
  const parts = [batch, tokens].map((value) => b.op("Unsqueeze", [value, axis]));
  const heads = b.op("Div", [b.constant(int64([1], [12])), b.constant(int64([1], [3]))]);
  const target = b.op("Concat", [...parts, b.int64s([3]), heads], {
    axis: { kind: "int", value: 0 },
  });
  const y = b.op("Reshape", ["x", target]);
  assertEquals(b.dims(y), [2, 5, 3, 4]);
  assertEquals(opTypes(b), ["Reshape"]);
});

Deno.test("a causal mask by Range and comparison folds to a constant", () => {
  const b = builder();
  const positions = b.op("Range", [0, 4, 1].map((x) => b.constant(int64([], [x]))));
  const rows = b.op("Unsqueeze", [positions, b.int64s([1])]);
  const visible = b.op("LessOrEqual", [positions, rows]);
  const mask = b.op("Where", [visible, b.scalar(0), b.scalar(-Infinity)]);
  const value = b.known(mask).value!;
  assertEquals([...toNumbers(value)].map((x) => x === 0), [
    ...[true, false, false, false],
    ...[true, true, false, false],
    ...[true, true, true, false],
    ...[true, true, true, true],
  ]);
  assertEquals(b.nodes.length, 0);
});

Deno.test("values beyond the limit are left to the runtime", () => {
  const b = builder();
  const one = b.scalar(1);
  assertEquals(b.known(b.op("Expand", [one, b.int64s([FOLD_LIMIT])])).value?.dims, [FOLD_LIMIT]);
  const large = b.op("Expand", [one, b.int64s([FOLD_LIMIT + 1])]);
  assertEquals(b.known(large).value, undefined);
});

Deno.test("a large constant stays one through Reshape, without copying its bytes", () => {
  const b = builder();
  const weight = float32([128, 64], new Float32Array(128 * 64));
  const y = b.op("Reshape", [b.initializer("w", weight), b.int64s([64, 128])]);
  assertEquals(b.known(y).value?.bytes, weight.bytes);
  assertEquals(b.known(y).value?.bytes.buffer === weight.bytes.buffer, true);
});

Deno.test("rules refuse attributes that they do not implement, naming node and attribute", () => {
  const b = builder();
  b.input("x", "float32", [2]);
  assertThrows(
    () => b.op("Relu", ["x"], { slope: float(1) }),
    UnsupportedError,
    'graft does not implement attribute "slope"',
  );
});

Deno.test("rules refuse shapes computed from data, naming the input", () => {
  const b = builder();
  b.input("x", "float32", [4]);
  b.input("shape", "int64", [2]);
  assertThrows(
    () => b.op("Reshape", ["x", "shape"]),
    UnsupportedError,
    'its input "shape" must be a constant',
  );
});

Deno.test("rules refuse operands that do not fit, naming node and shapes", () => {
  const infer = inferWith({ "": 13 });
  const known = (dims: number[], dtype: "float32" | "int64" = "float32") => ({ dtype, dims });
  const refused = (test: Node, ...inputs: ReturnType<typeof known>[]) =>
    assertThrows(() => infer(test, inputs), RangeError);
  refused(node("MatMul", ["a", "b"]), known([2, 3]), known([2, 3]));
  refused(node("Gemm", ["a", "b"]), known([2, 3, 1]), known([3, 2]));
  refused(node("Add", ["a", "b"]), known([2]), known([2], "int64"));
  refused(
    node("Transpose", ["a"], { attributes: { perm: ints([0, 0]) } }),
    known([2, 3]),
  );
  refused(node("Concat", ["a", "b"]), known([2, 3]), known([3, 3]));
  assertThrows(
    () => infer(node("MatMul", ["a"]), [known([2, 3])]),
    SyntaxError,
    "needs an input number 1",
  );
});

Deno.test("Constant refuses kinds it does not read, naming the attribute", () => {
  const b = builder();
  assertThrows(
    () => b.op("Constant", [], { value_string: { kind: "string", value: "x" } }),
    UnsupportedError,
    "value_string",
  );
  assertEquals(
    b.known(b.op("Constant", [], { value: tensorValue(float32([1], [2])) })).dims,
    [1],
  );
});

Deno.test("Split makes only the parts that are needed", () => {
  const b = builder();
  b.input("x", "float32", [6, 2]);
  const split = node("Split", ["x"], { outputs: ["p", "q", "r"] });
  const lowered = ruleOf(split).lower!(b, split, { opset: 13, needed: [false, true, false] })!;
  assertEquals([lowered[0], lowered[2]], ["", ""]);
  assertEquals(opTypes(b), ["Slice"]);
  assertEquals(b.dims(lowered[1]), [2, 2]);
});

Deno.test("Constant keeps the largest 64-bit integer, with which Slice means the end", () => {
  const b = builder();
  b.input("x", "float32", [5]);
  const end = b.op("Constant", [], { value_ints: ints([2 ** 63 - 1]) });
  assertEquals([...toBigInts(b.known(end).value!)], [2n ** 63n - 1n]);
  assertEquals(b.dims(b.op("Slice", ["x", b.int64s([1]), end])), [4]);
});

Deno.test("a reduction of a large constant is left to the runtime", () => {
  const b = builder();
  const weight = float32([512, 512], new Float32Array(512 * 512));
  const most = b.op("ReduceMax", [b.initializer("w", weight)]);
  assertEquals(b.known(most).value, undefined);
});
