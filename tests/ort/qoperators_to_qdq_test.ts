import { assert, assertEquals } from "@std/assert";
import { float, int, ints } from "../../src/graph/attributes.ts";
import { float32, int32, type Tensor, tensor } from "../../src/graph/tensor.ts";
import { qoperatorsToQdq } from "../../src/graph/passes/qoperators_to_qdq.ts";
import type { Model } from "../../src/graph/types.ts";
import { floats, int8s } from "../helpers/lora_graphs.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";
import { runTiny } from "../helpers/run_tiny.ts";

const STEP = 0.02;
const scale = (value: number) => float32([], [value]);
const zero = (value: number) => tensor("uint8", [], Uint8Array.of(value));

/** Values that all cases read: x in 8 bits is `xq`, its scale and zero point are `xs` and `xz`. */
const SHARED: Readonly<Record<string, Tensor>> = {
  xs: scale(0.01),
  xz: zero(120),
  ys: scale(STEP),
  yz: zero(130),
  w: int8s(4, 6),
  wz: tensor("int8", [], new Uint8Array(1)),
  ws: scale(0.015),
  each: float32([6], [0.01, 0.02, 0.03, 0.011, 0.021, 0.031]),
  eachZero: tensor("int8", [6], new Uint8Array(6)),
  bias: int32([6], [4000, -3000, 2000, -1000, 500, 0]),
  transposed: int8s(6, 4),
  c: tensor("uint8", [4], Uint8Array.of(10, 90, 170, 250)),
  cs: scale(0.008),
  cz: zero(100),
  kernel: int8s(2, 3, 1, 1),
  two: float32([2], [0.01, 0.02]),
  twoZero: tensor("int8", [2], new Uint8Array(2)),
  twoBias: int32([2], [3000, -2000]),
  yes: tensor("bool", [4], Uint8Array.of(1, 0, 0, 1)),
};
const X = ["xq", "xs", "xz"];
const C = ["c", "cs", "cz"];
const Y = ["ys", "yz"];

/** Nodes from `xq` [3, 4] to `yq`. */
const CASES: Readonly<Record<string, TinyNode>> = {
  "QLinearMatMul": ["QLinearMatMul", [...X, "w", "ws", "wz", ...Y], ["yq"]],
  "QLinearMatMul per channel": ["QLinearMatMul", [...X, "w", "each", "eachZero", ...Y], ["yq"]],
  "QGemm": ["com.microsoft.QGemm", [...X, "w", "ws", "wz", "bias", ...Y], ["yq"]],
  "QGemm per channel with transB": [
    "com.microsoft.QGemm",
    [...X, "transposed", "each", "eachZero", "bias", ...Y],
    ["yq"],
    { transB: int(1), alpha: float(1) },
  ],
  "QLinearAdd": ["com.microsoft.QLinearAdd", [...X, ...C, ...Y], ["yq"]],
  "QLinearMul": ["com.microsoft.QLinearMul", [...X, ...C, ...Y], ["yq"]],
  "QLinearSigmoid": ["com.microsoft.QLinearSigmoid", [...X, ...Y], ["yq"]],
  "QLinearLeakyRelu": ["com.microsoft.QLinearLeakyRelu", [...X, ...Y], ["yq"], {
    alpha: float(0.2),
  }],
  "QLinearSoftmax": ["com.microsoft.QLinearSoftmax", [...X, ...Y], ["yq"], {
    axis: int(-1),
    opset: int(21),
  }],
  "QLinearConcat": ["com.microsoft.QLinearConcat", [...Y, ...X, ...X], ["yq"], { axis: int(1) }],
  "QLinearConv": ["QLinearConv", [...X, "kernel", "two", "twoZero", ...Y, "twoBias"], ["yq"]],
  "QLinearAveragePool": ["com.microsoft.QLinearAveragePool", [...X, ...Y], ["yq"], {
    kernel_shape: ints([1, 2]),
  }],
  "QLinearGlobalAveragePool": ["com.microsoft.QLinearGlobalAveragePool", [...X, ...Y], ["yq"]],
  "QLinearWhere": ["com.microsoft.QLinearWhere", ["yes", ...X, ...C, ...Y], ["yq"]],
};

/** What an operator makes of [3, 4], or of the same as an image of three channels. */
const RESULTS: Readonly<Record<string, readonly number[]>> = {
  QLinearMatMul: [3, 6],
  QGemm: [3, 6],
  QLinearConcat: [3, 8],
  QLinearConv: [1, 2, 2, 2],
  QLinearAveragePool: [1, 3, 2, 1],
  QLinearGlobalAveragePool: [1, 3, 1, 1],
};

function model(node: TinyNode): Model {
  const result = RESULTS[node[0].replace("com.microsoft.", "")] ?? [3, 4];
  const read = new Set([...node[1], "xs", "xz", "ys", "yz"]);
  return tinyModel({
    inputs: { x: ["float32", result.length === 4 ? [1, 3, 2, 2] : [3, 4]] },
    outputs: { y: ["float32", result] },
    nodes: [
      ["QuantizeLinear", ["x", "xs", "xz"], ["xq"]],
      node,
      ["DequantizeLinear", ["yq", "ys", "yz"], ["y"]],
    ],
    initializers: Object.fromEntries(Object.entries(SHARED).filter(([name]) => read.has(name))),
  });
}

/** The same numbers in the shape that a model takes. */
const inputOf = ({ graph }: Model): Tensor => ({
  ...floats(3, 4),
  dims: graph.inputs[0].type!.shape as readonly number[],
});

for (const [name, node] of Object.entries(CASES)) {
  Deno.test(`qoperatorsToQdq() computes what ${name} computes`, async () => {
    const base = model(node);
    const converted = qoperatorsToQdq(base);
    assert(
      converted.graph.nodes.every(({ opType }) =>
        !opType.startsWith("Q") || opType === "QuantizeLinear"
      ),
    );
    const wanted = await runTiny(base, inputOf(base));
    for (const optimization of ["all", "disabled"] as const) {
      const found = await runTiny(converted, inputOf(base), { optimization });
      assertEquals(found.length, wanted.length);
      // An integer kernel and floats may fall on either side of a half.
      found.forEach((value, i) => assert(Math.abs(value - wanted[i]) <= 1.01 * STEP));
      const mean = found.reduce((sum, value, i) => sum + Math.abs(value - wanted[i]), 0) /
        found.length;
      assert(mean <= 0.2 * STEP, `${optimization}: ${mean / STEP} steps`);
    }
    assert(new Set(wanted).size >= 3);
  });
}

Deno.test("qoperatorsToQdq() leaves alone what DequantizeLinear of the operator set cannot say", () => {
  const base = model(CASES["QLinearMatMul per channel"]);
  const older = { ...base, opsets: { ...base.opsets, "": 12 } };
  assertEquals(qoperatorsToQdq(older).graph.nodes, base.graph.nodes);
  assert(qoperatorsToQdq(base).graph.nodes.some(({ opType }) => opType === "MatMul"));
});

Deno.test("qoperatorsToQdq() returns a model without such operators as it is", () => {
  const plain = tinyModel({
    inputs: { x: ["float32", [3, 4]] },
    outputs: { y: ["float32", [3, 4]] },
    nodes: [["Neg", ["x"], ["y"]]],
  });
  assert(qoperatorsToQdq(plain) === plain);
});
