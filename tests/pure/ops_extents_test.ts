/** Rules over shapes that follow from a batch's sizes: at every batch what they give of numbers. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { int, ints } from "../../src/graph/attributes.ts";
import { boundGraph } from "../../src/graph/bind_graph.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import {
  asDims,
  entriesOf,
  extentsOf,
  int64Of,
  sizedTensor,
  tensorAt,
} from "../../src/graph/extents.ts";
import { reshaped } from "../../src/graph/reshaped.ts";
import { type Extent, minus, plus, Sizes, times } from "../../src/graph/size.ts";
import { float32, type Tensor } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { reduceTo, zeros } from "../../src/ops/broadcast.ts";
import { GroupQueryAttention } from "../../src/ops/contrib/group_query_attention.ts";
import { emitAttend } from "../../src/ops/internal/attend.ts";
import { emitJoinedRows, emitPickedRows } from "../../src/ops/internal/pick_rows.ts";
import {
  emitQuantizedLinear,
  QuantizedLinear,
  quantizedLinearNode,
} from "../../src/ops/internal/quantized_linear.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { bytesText } from "../../src/graph/graph_text.ts";

const SIZES = ["batch", "length", "rows"] as const;
const HERE = new Map<string, number>([["batch", 8], ["length", 40], ["rows", 600]]);
/** None is a multiple of another. As here, constants of a row each have too many elements to be folded. */
const THERE = new Map<string, number>([["batch", 5], ["length", 67], ["rows", 521]]);

type Shape = Readonly<Record<typeof SIZES[number], Extent>>;

/** Emits nodes and returns the names of results, the first to be differentiated. */
type Emit = (b: GraphBuilder, sizes: Shape) => readonly string[];

function graphOf(emit: Emit, sizes: Shape): Graph {
  const b = new GraphBuilder(inferTraining);
  const results = emit(b, sizes);
  const [y] = results;
  if (b.known(y).dtype !== "float32") return b.build("graph", results);
  const floats = b.build("inputs", []).inputs.filter(({ type }) => type!.dtype === "float32")
    .map(({ name }) => name);
  const seed = b.input("cotangent", "float32", b.shape(y));
  const found = pullback(b, [...b.nodes], new Map([[y, seed]]), new Set(floats));
  return b.build("graph", [...results, ...[...found.values()].filter((ct) => ct !== undefined)]);
}

const textOf = ({ dtype, dims, bytes }: Tensor) => `${dtype}[${dims}]${bytesText(bytes)}`;

/** All of a graph but which of its constants are equal by chance. */
function comparable({ inputs, outputs, nodes, initializers, valueInfo }: Graph) {
  const computed = new Set(nodes.flatMap((node) => node.outputs));
  const names = new Map(
    [...inputs.map(({ name }) => name), ...computed].map((name, i) => [name, `v${i}`]),
  );
  const nameOf = (name: string) =>
    initializers.has(name) ? textOf(initializers.get(name)!) : names.get(name) ?? name;
  return {
    inputs,
    outputs: outputs.map(({ name, type }) => [nameOf(name), type]),
    nodes: nodes.map(({ opType, inputs, outputs, attributes }) => [
      ...[opType, inputs.map(nameOf), attributes],
      outputs.map((name) => [nameOf(name), valueInfo.get(name)?.type]),
    ]),
  };
}

const numbers = (values: ReadonlyMap<string, number>) =>
  Object.fromEntries(SIZES.map((name) => [name, values.get(name)!])) as unknown as Shape;

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
    const sizes = new Sizes(HERE);
    const shape = Object.fromEntries(
      SIZES.map((name) => [name, sizes.symbol(name)]),
    ) as unknown as Shape;
    const graph = graphOf(emit, shape);
    for (const values of [HERE, THERE]) {
      const bound = sizes.at(values);
      if (bound === undefined) throw new Error(`It settles ${JSON.stringify(sizes.decisions)}`);
      assertEquals(
        comparable(boundGraph(graph, bound)),
        comparable(graphOf(emit, numbers(values))),
      );
    }
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

Deno.test("int64Of() settles what it holds where its bytes are read", () => {
  const { sizes, batch, length } = symbols();
  const tensor = int64Of([2], [batch, 64]);
  assertEquals(entriesOf(reshaped(tensor, [1, 2])), [batch, 64]);
  assertEquals(entriesOf(int64Of([2], [3, 4])), [3, 4]);
  assertEquals(entriesOf(float32([1], [3])), undefined);
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
