/** Rules over shapes that follow from a batch's sizes: at every batch what they give of numbers. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { float, int, ints, string } from "../../src/graph/attributes.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import {
  asDims,
  entriesOf,
  extentsOf,
  int64Of,
  sizedTensor,
  tensorAt,
} from "../../src/graph/extents.ts";
import { reshaped } from "../../src/graph/reshaped.ts";
import { minus, plus, times } from "../../src/graph/extent_arithmetic.ts";
import { Sizes } from "../../src/graph/size.ts";
import { float32, int32, int64 } from "../../src/graph/tensor.ts";
import { reduceTo, zeros } from "../../src/ops/broadcast.ts";
import { GroupQueryAttention } from "../../src/ops/contrib/group_query_attention.ts";
import { DropoutMask } from "../../src/ops/internal/dropout_mask.ts";
import { emitAttend } from "../../src/ops/internal/attend.ts";
import { emitJoinedRows, emitPickedRows } from "../../src/ops/internal/pick_rows.ts";
import {
  emitQuantizedLinear,
  QuantizedLinear,
  quantizedLinearNode,
} from "../../src/ops/internal/quantized_linear.ts";
import { inferTraining, ruleOf } from "../../src/ops/registry.ts";
import type { TrainingRule } from "../../src/ops/types.ts";
import { assertBuildsAtEveryBatch, type Emit, HERE, THERE } from "../helpers/over_sizes.ts";

/** What a rule lowers a node to, of an older operator set. */
function lowered(
  b: GraphBuilder,
  opType: string,
  inputs: readonly string[],
  attributes: Attributes,
  domain = "",
): readonly string[] {
  const node = { name: "n", opType, domain, inputs, attributes, outputs: ["y", "z"] };
  const rule = ruleOf(node) as TrainingRule;
  return rule.lower!(b, node, { opset: 12, needed: [true, true] })!;
}

const CASES: Readonly<Record<string, Emit>> = {
  "Add, broadcast both ways": (b, { batch, length }) => {
    b.input("x", "float32", [batch, 1, 16]);
    b.input("y", "float32", [length, 1]);
    return [b.op("Add", ["x", "y"])];
  },
  "Mul, Div and Sub of equal shapes": (b, { rows }) => {
    b.input("x", "float32", [rows, 16]);
    b.input("y", "float32", [rows, 16]);
    const product = b.op("Mul", ["x", "y"]);
    return [b.op("Sub", [b.op("Div", [product, "y"]), "x"])];
  },
  "Exp, Where and Less": (b, { rows, length }) => {
    b.input("x", "float32", [rows, length]);
    b.input("y", "float32", [1, length]);
    const test = b.op("Less", ["x", "y"]);
    return [b.op("Where", [test, b.op("Exp", ["x"]), "y"])];
  },
  "MatMul with a matrix": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 16]);
    b.input("w", "float32", [16, 24]);
    return [b.op("MatMul", ["x", "w"])];
  },
  "MatMul of stacks": (b, { batch, length }) => {
    b.input("x", "float32", [batch, 4, length, 16]);
    b.input("y", "float32", [batch, 1, 16, length]);
    return [b.op("MatMul", ["x", "y"])];
  },
  "Gemm": (b, { rows }) => {
    b.input("x", "float32", [rows, 16]);
    b.input("w", "float32", [24, 16]);
    b.input("c", "float32", [24]);
    return [b.op("Gemm", ["x", "w", "c"], { transB: int(1) })];
  },
  "Softmax and Transpose": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 4, 16]);
    const y = b.op("Transpose", ["x"], { perm: ints([0, 2, 1, 3]) });
    return [b.op("Softmax", [y], { axis: int(-1) })];
  },
  "LayerNormalization": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 16]);
    b.input("scale", "float32", [16]);
    b.input("bias", "float32", [16]);
    return [b.op("LayerNormalization", ["x", "scale", "bias"])];
  },
  "ReduceSum and ReduceMean over what is of one size": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 16]);
    const y = b.op("ReduceMean", ["x", b.int64s([2])]);
    return [b.op("ReduceSum", [y, b.int64s([1])], { keepdims: int(0) })];
  },
  "Reshape by what Shape, Gather, Mul and Concat give": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 16]);
    const shape = b.op("Shape", ["x"]);
    const at = (axis: number) => b.op("Gather", [shape, b.int64s([axis])]);
    const positions = b.op("Mul", [at(0), at(1)]);
    const wanted = b.op("Concat", [positions, b.int64s([-1, 4])], { axis: int(0) });
    const y = b.op("Reshape", ["x", wanted]);
    return [y, b.op("Shape", [y])];
  },
  "Reshape to one length by a quotient of sizes": (b, { rows }) => {
    b.input("x", "float32", [times(rows, 4), 16]);
    const [count] = [b.op("Size", ["x"])];
    const one = b.op("Div", [count, b.op("Size", [b.input("w", "float32", [4, 16])])]);
    const shape = b.op("Concat", [b.op("Unsqueeze", [one, b.int64s([0])]), b.int64s([-1])], {
      axis: int(0),
    });
    return [b.op("Reshape", ["x", shape])];
  },
  "Squeeze, Unsqueeze and Flatten": (b, { batch, length }) => {
    b.input("x", "float32", [batch, 1, length, 16]);
    const y = b.op("Squeeze", ["x", b.int64s([1])]);
    return [b.op("Exp", ["x"]), y, b.op("Flatten", [y], { axis: int(2) })];
  },
  "Concat and Slice along sizes": (b, { batch, length, rows }) => {
    b.input("x", "float32", [length, 16]);
    b.input("y", "float32", [rows, 16]);
    const all = b.op("Concat", ["x", "y"], { axis: int(0) });
    const from = b.int64s([minus(length, 3)]);
    const to = b.int64s([plus(length, batch)]);
    return [b.op("Slice", [all, from, to, b.int64s([0])])];
  },
  "Slice to an end without a bound, and from one": (b, { length }) => {
    b.input("x", "float32", [length, 16]);
    const some = b.op("Slice", ["x", b.int64s([2]), b.int64s([2 ** 31 - 1]), b.int64s([0])]);
    return [b.op("Slice", [some, b.int64s([-3]), b.int64s([2 ** 31 - 1]), b.int64s([0])])];
  },
  "Split of a part that is no size": (b, { rows }) => {
    b.input("x", "float32", [rows, 24]);
    const [q, k] = b.ops("Split", ["x", b.int64s([16, 8])], 2, { axis: int(1) });
    return [q, k];
  },
  "Gather of rows": (b, { rows, length }) => {
    b.input("x", "float32", [rows, 16]);
    b.input("at", "int64", [length]);
    return [b.op("Gather", ["x", "at"], { axis: int(0) })];
  },
  "Expand": (b, { batch, length }) => {
    b.input("x", "float32", [length, 1]);
    return [b.op("Expand", ["x", b.int64s([batch, 1, 16])])];
  },
  "SwiGLU, Rotation and QuantizedLinear": (b, { batch, length }) => {
    b.input("gate", "float32", [batch, length, 32]);
    b.input("up", "float32", [batch, length, 32]);
    b.input("w", "int8", [32, 16]);
    const inputs = ["gate", "up"];
    const graft = { domain: "graft", attributes: {} };
    const [y] = b.emit({ ...graft, opType: "SwiGLU", inputs });
    const [rotated] = b.emit({
      ...{ ...graft, opType: "Rotation", inputs: [y], attributes: { block: int(32) } },
    });
    return [emitQuantizedLinear(b, { x: rotated, weight: "w", slices: 1, transB: false })];
  },
  "QuantizedLinear as the runtime has it": (b, { rows }) => {
    b.input("x", "float32", [rows, 32]);
    b.input("w", "int8", [32, 16]);
    const node = quantizedLinearNode({ x: "x", weight: "w", slices: 2, transB: false });
    QuantizedLinear.expand!(b, { ...node, name: "n", outputs: ["y"] });
    return [b.op("Cast", ["y"], { to: int(7) })];
  },
  "GroupQueryAttention in one piece": (b, { batch, length }) => {
    b.input("query", "float32", [batch, length, 32]);
    b.input("key", "float32", [batch, length, 16]);
    b.input("value", "float32", [batch, length, 16]);
    const table = new Float32Array(80 * 4).fill(0.5);
    const [cos, sin] = ["cos", "sin"].map((name) => b.initializer(name, float32([80, 4], table)));
    const inputs = ["query", "key", "value", "", "", "", "", cos, sin];
    const heads = { num_heads: int(4), kv_num_heads: int(2), do_rotary: int(1) };
    const attention = { emit: emitAttend };
    const node = {
      ...{ name: "n", opType: "GroupQueryAttention", domain: "com.microsoft", inputs },
      ...{ outputs: ["y"], attributes: heads },
    };
    const [y] = GroupQueryAttention.lower!(b, node, { opset: 1, needed: [true], attention })!;
    return [b.op("Cast", [y], { to: int(7) })];
  },
  "Constants that are computed from sizes": (b, { length }) => {
    const ids = b.input("ids", "int64", [length, 3]);
    const size = b.op("Slice", [b.op("Shape", [ids]), b.int64s([0]), b.int64s([1])]);
    const ones = b.op("ConstantOfShape", [size]);
    const sums = b.op("CumSum", [b.op("Add", [ones, b.scalar(0.5)]), b.int64s([0])]);
    return [b.op("Cast", [b.op("Reshape", [sums, b.int64s([-1, 1])])], { to: int(7) })];
  },
  "Expand by a shape with -1, as exporters write it": (b, { batch, length }) => {
    b.input("x", "float32", [1, length, 1]);
    const like = b.op("Shape", [b.input("y", "float32", [batch, length, 7])]);
    const wanted = b.op("Concat", [
      b.op("Slice", [like, b.int64s([0]), b.int64s([1]), b.int64s([0])]),
      b.int64s([-1, 16]),
    ], { axis: int(0) });
    const ones = b.op("Expand", [b.constant(int64([1], [1])), b.op("Shape", [wanted])]);
    const open = b.op("Equal", [wanted, b.op("Mul", [ones, b.int64s([-1])])]);
    return [b.op("Expand", ["x", b.op("Where", [open, ones, wanted])])];
  },
  "Shapes through int32, Min, Max and ReduceProd": (b, { batch, length }) => {
    const shape = b.op("Cast", [b.op("Shape", [b.input("x", "float32", [batch, length, 4])])], {
      to: int(6),
    });
    const most = b.op("Min", [shape, b.constant(int32([3], [2 ** 20, 2 ** 20, 3]))]);
    const least = b.op("Max", [most, b.constant(int32([3], [2, 2, 4]))]);
    const rows = b.op("ReduceProd", [b.op("Cast", [least], { to: int(7) }), b.int64s([0])]);
    return [b.op("Reshape", ["x", rows])];
  },
  "Positions and a causal mask, as exporters write them": (b, { batch, length }) => {
    const shape = b.op("Shape", [b.input("x", "float32", [batch, 16, length])]);
    const at = (axis: number) => b.op("Gather", [shape, b.constant(int64([], [axis]))]);
    const scalar = (value: number) => b.constant(int64([], [value]));
    const range = (to: string) => b.op("Range", [scalar(0), to, scalar(1)]);
    const [places, rows] = [range(at(2)), b.op("Unsqueeze", [range(at(1)), b.int64s([1])])];
    const [zero, hidden] = [b.scalar(0), b.scalar(-1e9)];
    const mask = b.op("Where", [b.op("LessOrEqual", [places, rows]), zero, hidden]);
    const others = b.op("Range", [scalar(1), at(0), scalar(2)]);
    const inFloats = [scalar(0), at(2), scalar(1)].map((bound) =>
      b.op("Cast", [bound], { to: int(1) })
    );
    const angles = b.op("Cos", [b.op("Range", inFloats)]);
    const masked = b.op("Add", ["x", b.op("Trilu", [mask, scalar(0)])]);
    return [b.op("Mul", [masked, angles]), others];
  },
  "Tile, GatherElements and ScatterElements": (b, { batch, length, rows }) => {
    b.input("x", "float32", [batch, 1, 4]);
    b.input("at", "int64", [batch, rows, 4]);
    const tiled = b.op("Tile", ["x", b.int64s([1, length, 2])]);
    const four = b.op("Slice", [tiled, b.int64s([0]), b.int64s([4]), b.int64s([2])]);
    const picked = b.op("GatherElements", [four, "at"], { axis: int(1) });
    return [b.op("ScatterElements", [four, "at", picked], { axis: int(1) })];
  },
  "GatherND": (b, { batch, length, rows }) => {
    b.input("x", "float32", [batch, length, rows, 4]);
    b.input("at", "int64", [batch, 7, 2]);
    return [b.op("GatherND", ["x", "at"], { batch_dims: int(1) })];
  },
  "TopK and OneHot": (b, { batch, length }) => {
    b.input("x", "float32", [batch, times(length, 2)]);
    const [most, at] = b.ops("TopK", ["x", b.int64s([length])], 2, { axis: int(1) });
    const ends = b.constant(float32([2], [0, 1]));
    return [most, b.op("OneHot", [at, b.int64s([9]), ends]), b.op("ArgMax", ["x"])];
  },
  "Split of parts that follow from sizes": (b, { length, rows }) => {
    b.input("x", "float32", [plus(rows, times(length, 2)), 32]);
    const [own, twice] = b.ops("Split", ["x", b.int64s([rows, times(length, 2)])], 2);
    const [first, second] = b.ops("Split", [twice], 2, { num_outputs: int(2) });
    return [b.op("Add", [first, second]), own];
  },
  "ReduceMean over tokens": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 4]);
    return [b.op("ReduceMean", ["x", b.int64s([0, 1])])];
  },
  "DropoutMask as the runtime has it": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 16]);
    for (const name of ["seed", "salt"]) b.input(name, "int64", []);
    const attributes = { probability: float(0.1) };
    const inputs = ["x", "seed", "salt"];
    const node = { name: "n", opType: "DropoutMask", domain: "graft", inputs, attributes };
    DropoutMask.expand!(b, { ...node, outputs: ["mask"] });
    return [b.op("Cast", ["mask"], { to: int(7) })];
  },
  "Einsum": (b, { batch, length, rows }) => {
    b.input("x", "float32", [batch, length, 4, 16]);
    b.input("y", "float32", [batch, rows, 4, 16]);
    return lowered(b, "Einsum", ["x", "y"], { equation: string("bihd,bjhd->bhij") });
  },
  "Softmax before operator set 13": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 4]);
    return lowered(b, "Softmax", ["x"], { axis: int(1) });
  },
  "EmbedLayerNormalization": (b, { batch, length }) => {
    const inputs = ["ids", "", "words", "positions", "", "gamma", "beta"];
    b.input("ids", "int32", [batch, length]);
    b.variable("words", float32([9, 4], new Float32Array(36)));
    b.variable("positions", float32([99, 4], new Float32Array(99 * 4)));
    for (const name of ["gamma", "beta"]) b.input(name, "float32", [4]);
    return lowered(b, "EmbedLayerNormalization", inputs, {}, "com.microsoft");
  },
  "PickRows and JoinRows": (b, { batch, length, rows }) => {
    b.input("x", "float32", [times(rows, 4), 16]);
    b.input("at", "int64", [batch, 4, length]);
    b.input("by", "int64", [rows, 4]);
    b.input("from", "int64", [batch, 4, length]);
    const [picked] = emitPickedRows(b, "x", ["at"], { by: "by" });
    return [emitJoinedRows(b, "by", [{ value: picked, from: "from" }])];
  },
  "PickRows that are summed": (b, { length, rows }) => {
    b.input("x", "float32", [times(rows, 4), 16]);
    b.input("at", "int64", [4, length]);
    return emitPickedRows(b, "x", ["at"], "sum");
  },
  "zeros() and reduceTo()": (b, { batch, length }) => {
    b.input("x", "float32", [batch, length, 16]);
    const sum = b.op("Add", ["x", zeros(b, "float32", [batch, length, 16])]);
    return [reduceTo(b, sum, [batch, 1, 16])];
  },
};

for (const [name, emit] of Object.entries(CASES)) {
  Deno.test(`GraphBuilder builds over sizes what it builds at every batch: ${name}`, () => {
    assertBuildsAtEveryBatch(emit);
  });
}

function symbols() {
  const sizes = new Sizes(HERE);
  return { sizes, batch: sizes.symbol("batch"), length: sizes.symbol("length") };
}

Deno.test("asDims() settles the dimensions that are read, and no others", () => {
  const { sizes, batch, length } = symbols();
  const dims = asDims([batch, length, 16]);
  assertEquals([dims.length, dims[2]], [3, 16]);
  assert(sizes.at(THERE) !== undefined);
  assertEquals(dims[1], 40);
  assertEquals(sizes.at(new Map([...THERE, ["length", 41]])), undefined);
  assert(sizes.at(new Map([...THERE, ["length", 40]])) !== undefined);
  assertEquals(extentsOf(dims), [batch, length, 16]);
  const all = [2, 3];
  assert(asDims(all) === all && extentsOf(all) === all);
});

Deno.test("sizedTensor() has the bytes of each batch, and settles what they follow from where they are read", () => {
  const { sizes, batch, length } = symbols();
  const ones = (count: number) => new Uint8Array(count).fill(1);
  const tensor = sizedTensor("ones", "uint8", [length, batch], [times(length, batch)], ones);
  const view = reshaped(tensor, asDims([times(length, batch)]));
  const there = sizes.at(THERE)!;
  for (const [each, dims] of [[tensor, [67, 5]], [view, [335]]] as const) {
    const bound = tensorAt(each, there);
    assertEquals([bound.dims, bound.bytes], [dims, ones(335)]);
  }
  assertEquals(tensor.bytes, ones(320));
  assertEquals(sizes.at(THERE), undefined);
  assertEquals(sizedTensor("ones", "uint8", [2], [2], ones), {
    dtype: "uint8",
    dims: [2],
    bytes: ones(2),
  });
});

Deno.test("reshaped() refuses dimensions of another number of elements, also of what follows from sizes", () => {
  const { batch } = symbols();
  const made = sizedTensor("ones", "int64", [1], [batch], () => new Uint8Array(8));
  for (const tensor of [int64([1], [3]), int64Of([1], [batch]), made]) {
    assertThrows(() => reshaped(tensor, [64, 4]), RangeError, "int64[64,4] tensor: it needs");
  }
});

Deno.test("int64Of() settles what it holds where its bytes are read", () => {
  const { sizes, batch, length } = symbols();
  const tensor = int64Of([2], [batch, 64]);
  assertEquals(entriesOf(reshaped(tensor, [1, 2])), [batch, 64]);
  assertEquals(entriesOf(int64Of([2], [3, 4])), [3, 4]);
  assertEquals(entriesOf(float32([2], [3, 0.5])), undefined);
  assertEquals(entriesOf(int64Of([65], new Array(65).fill(length))), new Array(65).fill(length));
  assert(sizes.at(THERE) !== undefined);
  assertEquals(new BigInt64Array(tensor.bytes.buffer), BigInt64Array.of(8n, 64n));
  assertEquals(sizes.at(THERE), undefined);
});

Deno.test("GraphBuilder refuses shapes that do not fit, naming their sizes", () => {
  const { batch, length } = symbols();
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [batch, length]);
  assertThrows(() => b.reshape("x", [batch, 7]), RangeError, "[batch,length] to [batch,7]");
  b.input("y", "float32", [batch, 39]);
  assertThrows(() => b.op("Add", ["x", "y"]), RangeError, "[batch,length] and [batch,39]");
  assertThrows(() => b.input("z", "float32", [minus(batch, 9)]), RangeError, "no memory holds");
});

Deno.test("GraphBuilder serves batches alone at which sizes that meet are equal", () => {
  const { sizes, length } = symbols();
  const b = new GraphBuilder(inferTraining);
  b.input("x", "float32", [length, 4]);
  b.input("table", "float32", [40, 4]);
  assertEquals(extentsOf(b.dims(b.op("Add", ["x", "table"]))), [length, 4]);
  assertEquals(sizes.at(THERE), undefined);
  assert(sizes.at(new Map([...THERE, ["length", 40]])) !== undefined);
});
