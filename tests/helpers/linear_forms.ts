/** Tiny linear layers in every operator form that graft adapts. */
import { int } from "../../src/graph/attributes.ts";
import type { DataType } from "../../src/graph/dtype.ts";
import { float32, type Tensor, tensor } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { dynamicLinear, floats, halves, int8s } from "./lora_graphs.ts";
import { tinyModel, type TinyNode } from "./ort.ts";
import { runTiny } from "./run_tiny.ts";

/** x [3, 4] → y [3, 6] through one linear layer in the given form. */
function model(
  nodes: readonly TinyNode[],
  initializers: Readonly<Record<string, Tensor>>,
  dtype: DataType = "float32",
): Model {
  return tinyModel({
    inputs: { x: [dtype, [3, 4]] },
    outputs: { y: [dtype, [3, 6]] },
    nodes,
    initializers,
  });
}

/** 4-bit codes of both halves of a byte. */
const nibbles = (dims: number[], dtype: "int4" | "uint4") =>
  tensor(
    dtype,
    dims,
    Uint8Array.from({ length: dims[0] * dims[1] / 2 }, (_, i) => (i * 61 + 7) % 256),
  );
const transpose = { perm: { kind: "ints", value: [1, 0] } } as const;

/** Linear layers of 4 inputs and 6 outputs in every operator form. */
export const FORMS: Readonly<Record<string, () => Model>> = {
  "MatMul": () => model([["MatMul", ["x", "w"], ["y"]]], { w: floats(4, 6) }),
  "Gemm with its own bias": () =>
    model([["Gemm", ["x", "w", "b"], ["y"], { transB: int(1) }]], {
      w: floats(6, 4),
      b: floats(6),
    }),
  "MatMul in float16 with a bias": () =>
    model([["MatMul", ["x", "w"], ["h"]], ["Add", ["b", "h"], ["y"]]], {
      w: halves(floats(4, 6)),
      b: halves(floats(6)),
    }, "float16"),
  "DequantizeLinear per channel": () =>
    model([["DequantizeLinear", ["w", "s", "z"], ["d"]], ["MatMul", ["x", "d"], ["y"]]], {
      w: int8s(4, 6),
      s: float32([6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]),
      z: int8s(6),
    }),
  "DequantizeLinear int4 in blocks, transposed": () =>
    model(
      [
        ["DequantizeLinear", ["w", "s"], ["d"], { axis: int(1), block_size: int(2) }],
        ["Transpose", ["d"], ["t"], transpose],
        ["MatMul", ["x", "t"], ["y"]],
      ],
      { w: nibbles([6, 4], "int4"), s: floats(6, 2) },
    ),
  "DequantizeLinear int4 in blocks, the last a part of one": () =>
    model(
      [
        ["DequantizeLinear", ["w", "s", "z"], ["d"], { axis: int(0), block_size: int(3) }],
        ["MatMul", ["x", "d"], ["y"]],
      ],
      { w: nibbles([4, 6], "uint4"), s: floats(2, 6), z: nibbles([2, 6], "uint4") },
    ),
  "DequantizeLinear before Gemm": () =>
    model(
      [
        ["DequantizeLinear", ["w", "s"], ["d"], { axis: int(0) }],
        ["Gemm", ["x", "d", "b"], ["y"], { transB: int(1) }],
      ],
      { w: int8s(6, 4), s: float32([6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]), b: floats(6) },
    ),
  "QuantizeLinear and DequantizeLinear per channel": () =>
    model([
      ["QuantizeLinear", ["w", "s", "z"], ["q"]],
      ["DequantizeLinear", ["q", "s", "z"], ["d"]],
      ["MatMul", ["x", "d"], ["y"]],
    ], {
      w: floats(4, 6),
      s: float32([6], [0.004, 0.002, 0.003, 0.005, 0.006, 0.0071]),
      z: tensor("int8", [6], new Uint8Array(6)),
    }),
  "QuantizeLinear and DequantizeLinear to uint8 before Gemm": () =>
    model([
      ["QuantizeLinear", ["w", "s", "z"], ["q"]],
      ["DequantizeLinear", ["q", "s", "z"], ["d"]],
      ["Gemm", ["x", "d", "b"], ["y"], { transB: int(1) }],
    ], {
      w: floats(6, 4),
      s: float32([], [0.0041]),
      z: tensor("uint8", [], Uint8Array.of(131)),
      b: floats(6),
    }),
  "QuantizeLinear and DequantizeLinear in blocks": () =>
    model([
      ["QuantizeLinear", ["w", "s", "z"], ["q"], { axis: int(0), block_size: int(2) }],
      ["DequantizeLinear", ["q", "s", "z"], ["d"], { axis: int(0), block_size: int(2) }],
      ["MatMul", ["x", "d"], ["y"]],
    ], {
      w: floats(4, 6),
      s: float32([2, 6], Array.from({ length: 12 }, (_, i) => 0.004 + 0.0003 * i)),
      z: tensor("int8", [2, 6], new Uint8Array(12)),
    }),
  "MatMulInteger": () =>
    model(dynamicLinear("x", "w", "y"), {
      w: int8s(4, 6),
      w_scale: float32([6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]),
      w_zero_point: tensor("int8", [6], new Uint8Array(6)),
    }),
  "DynamicQuantizeMatMul with its own bias": () =>
    model([["com.microsoft.DynamicQuantizeMatMul", ["x", "w", "s", "z", "b"], ["y"]]], {
      ...dynamicWeights(),
      b: floats(6),
    }),
  "MatMulIntegerToFloat": () =>
    model([
      ["DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]],
      ["com.microsoft.MatMulIntegerToFloat", ["q", "w", "qs", "s", "qz", "z"], ["y"]],
    ], dynamicWeights()),
};

function dynamicWeights() {
  return {
    w: int8s(4, 6),
    s: float32([6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]),
    z: tensor("int8", [6], new Uint8Array(6)),
  };
}

export const runForm = (model: Model, x: Tensor) => runTiny(model, x, { optimization: "disabled" });

/** Row-major x·Wᵀ of x [rows, in] and W [out, in]. */
export function product(x: ArrayLike<number>, w: ArrayLike<number>, size: number): Float32Array {
  const rows = x.length / size, out = w.length / size;
  return Float32Array.from({ length: rows * out }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < size; k++) {
      sum += x[Math.floor(i / out) * size + k] * w[(i % out) * size + k];
    }
    return sum;
  });
}
