/** Quantised operators: what training computes is exactly the dequantised weights in floats. */
import { assertThrows } from "@std/assert";
import { int } from "../../src/graph/attributes.ts";
import { type Attributes, GraphBuilder } from "../../src/graph/builder.ts";
import type { DataType } from "../../src/graph/dtype.ts";
import { byteLength } from "../../src/graph/dtype.ts";
import {
  elementCount,
  float32,
  int32,
  int64,
  type Tensor,
  tensor,
  toNumbers,
} from "../../src/graph/tensor.ts";
import { inferTraining, ruleOf } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import {
  checkFused,
  constant,
  type FusedCase,
  lower,
  normal,
  type TestInput,
} from "../helpers/fused_check.ts";

/** Integers of any type, all bit patterns. */
function integers(dtype: DataType, dims: readonly number[], seed = 1): Tensor {
  const bytes = new Uint8Array(byteLength(dtype, elementCount(dims)));
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 89 + seed * 41) & 255;
  return tensor(dtype, dims, bytes);
}

const scales = (dims: readonly number[]) =>
  float32(dims, Array.from({ length: elementCount(dims) }, (_, i) => 0.01 + 0.003 * (i % 5)));

function dequantize(
  x: Tensor,
  scale: readonly number[],
  zeroPoint: boolean,
  attributes: Attributes = {},
  domain = "",
): FusedCase {
  return {
    opType: "DequantizeLinear",
    domain,
    attributes,
    inputs: [
      constant(x),
      constant(scales(scale)),
      zeroPoint ? constant(integers(x.dtype, scale, 3)) : undefined,
    ],
  };
}

/** The same with scales that have a gradient. */
const byScales = (test: FusedCase): FusedCase => ({
  ...test,
  inputs: test.inputs.map((input, i) =>
    i === 1 && input !== undefined && "constant" in input ? input.constant : input
  ),
  wrt: [1],
});

const DEQUANTIZE: Readonly<Record<string, FusedCase>> = {
  "int8 per tensor": dequantize(integers("int8", [6, 8]), [], true),
  "uint8 per tensor": dequantize(integers("uint8", [6, 8]), [], true),
  "int8 without zero point": dequantize(integers("int8", [6, 8]), [], false),
  "int8 per tensor, by its scale": byScales(dequantize(integers("int8", [6, 8]), [], true)),
  "int8 per column, by its scales": byScales(
    dequantize(integers("int8", [6, 8]), [8], true, { axis: int(1) }),
  ),
  "uint8 per row, by its scales": byScales(
    dequantize(integers("uint8", [6, 8]), [6], true, { axis: int(0) }),
  ),
  "int8 per column": dequantize(integers("int8", [6, 8]), [8], true, { axis: int(1) }),
  "int8 per row": dequantize(integers("int8", [6, 8]), [6], true, { axis: int(0) }),
  "axis from the end": dequantize(integers("uint8", [6, 8]), [8], true, { axis: int(-1) }),
  "int32 bias": dequantize(integers("int32", [8]), [8], false, { axis: int(0) }),
  "com.microsoft": dequantize(
    integers("uint8", [6, 8]),
    [8],
    true,
    { axis: int(1) },
    "com.microsoft",
  ),
  "com.microsoft per tensor": dequantize(integers("int8", [6, 8]), [], true, {}, "com.microsoft"),
};

const BLOCKS: Readonly<Record<string, FusedCase>> = {
  "int8 in blocks, by its scales": byScales(
    dequantize(integers("int8", [6, 32]), [6, 2], true, { axis: int(1), block_size: int(16) }),
  ),
  "int8 in blocks of rows, by its scales": byScales(
    dequantize(integers("int8", [32, 6]), [2, 6], false, { axis: int(0), block_size: int(16) }),
  ),
  "int4 in blocks of rows": dequantize(integers("int4", [32, 6]), [2, 6], false, {
    axis: int(0),
    block_size: int(16),
  }),
  "uint4 in blocks of rows": dequantize(integers("uint4", [32, 6]), [2, 6], true, {
    axis: int(0),
    block_size: int(16),
  }),
  "uint4 in blocks of columns": dequantize(integers("uint4", [6, 32]), [6, 2], true, {
    axis: int(1),
    block_size: int(16),
  }),
  "int8 in blocks": dequantize(integers("int8", [6, 32]), [6, 2], true, {
    axis: int(1),
    block_size: int(16),
  }),
};

for (const [what, test] of Object.entries(DEQUANTIZE)) {
  Deno.test(`DequantizeLinear: ${what}`, () => checkFused(test));
}
for (const [what, test] of Object.entries(BLOCKS)) {
  Deno.test(`DequantizeLinear: ${what}`, () => checkFused({ ...test, since: [1, 19, 0] }));
}

Deno.test("DequantizeLinear refuses scales that do not fit the tensor", () => {
  const test = dequantize(integers("int8", [6, 8]), [6], false, { axis: int(1) });
  assertThrows(
    () => lower(new GraphBuilder(inferTraining), test),
    RangeError,
    'Scales of DequantizeLinear "under_test" do not fit: the tensor is [6,8], axis 1',
  );
});

/** x · ((w - zeroPoint) · scale) + bias over [rows, K] and [K, N], in doubles. */
function product(x: Tensor, w: Tensor, scale: Tensor, zeroPoint?: Tensor, bias?: Tensor): Tensor {
  const [xs, ws, ss] = [x, w, scale].map(toNumbers);
  const [zs, bs] = [zeroPoint, bias].map((t) => t === undefined ? [0] : toNumbers(t));
  const [k, n] = w.dims;
  const rows = xs.length / k;
  const out = Array.from({ length: rows * n }, (_, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    let sum = bs[column % bs.length];
    for (let i = 0; i < k; i++) {
      sum += xs[row * k + i] * (ws[i * n + column] - zs[column % zs.length]) *
        ss[column % ss.length];
    }
    return sum;
  });
  return float32([...x.dims.slice(0, -1), n], out);
}

for (const dtype of ["int8", "uint8"] as const) {
  for (const columns of [undefined, 8]) {
    Deno.test(`DynamicQuantizeMatMul: ${dtype} per ${columns ? "column" : "tensor"}`, async () => {
      const [x, w] = [normal([2, 3, 6], 1), integers(dtype, [6, 8])];
      const parameters = columns === undefined ? [] : [columns];
      const [scale, zero] = [scales(parameters), integers(dtype, parameters, 5)];
      const bias = normal([8], 4);
      await checkFused({
        opType: "DynamicQuantizeMatMul",
        inputs: [x, ...[w, scale, zero, bias].map(constant)],
        wrt: [0],
        expected: [product(x, w, scale, zero, bias)],
      });
      await checkFused({
        opType: "DynamicQuantizeMatMul",
        inputs: [x, constant(w), constant(scale)],
        wrt: [0],
        expected: [product(x, w, scale)],
      });
    });
  }
}

Deno.test("Integer operators that activations enter are refused by name", () => {
  const refused = (opType: string, inputs: readonly TestInput[], message: string, domain = "") =>
    assertThrows(
      () => lower(new GraphBuilder(inferTraining), { opType, domain, inputs }),
      UnsupportedError,
      `Cannot train through node "under_test": graft does not implement ${message}`,
    );
  const [x, u8] = [normal([2, 4]), integers("uint8", [2, 4])];
  const [w, scale] = [integers("int8", [4, 3]), float32([], [0.1])];
  refused("QuantizeLinear", [x, scale], "integers computed from activations");
  refused("DynamicQuantizeLinear", [x], "a use other than MatMulInteger");
  refused("MatMulInteger", [u8, w], "a product other than");
  const packed = [u8, w, normal([3]), scale, scale];
  refused("QAttention", packed, "an input that no quantising operator made", "com.microsoft");
  refused("MatMulIntegerToFloat", [u8, w, scale, scale], "a left operand", "com.microsoft");
});

Deno.test("Operators with integers on both sides are not supported, by name", () => {
  assertThrows(
    () => ruleOf({ name: "product", domain: "", opType: "QLinearMatMul" }),
    UnsupportedError,
    'Cannot train through node "product": operator QLinearMatMul is not supported',
  );
});

for (const domain of ["", "com.microsoft"]) {
  Deno.test(`QuantizeLinear of a constant stays in the graph, domain "${domain}"`, async () => {
    const zero = tensor("int8", [], Uint8Array.of(3));
    const inputs = [normal([4, 3]), float32([], [0.05]), zero].map(constant);
    await checkFused({ opType: "QuantizeLinear", domain, inputs });
  });
}

const INDICES = int64([2, 3], [4, 0, 2, 2, 1, 3]);
const TABLES: Readonly<Record<string, FusedCase>> = {
  "uint8 of 4 bits": {
    opType: "GatherBlockQuantized",
    attributes: { bits: int(4), block_size: int(16), gather_axis: int(0), quantize_axis: int(1) },
    inputs: [integers("uint8", [5, 16]), INDICES, scales([5, 2])],
  },
  "uint8 of 4 bits with zero points": {
    opType: "GatherBlockQuantized",
    attributes: { bits: int(4), block_size: int(16), quantize_axis: int(-1) },
    inputs: [integers("uint8", [5, 16]), INDICES, scales([5, 2]), integers("uint8", [5, 1])],
  },
  "uint8 of 8 bits": {
    opType: "GatherBlockQuantized",
    attributes: { bits: int(8), block_size: int(16) },
    inputs: [integers("uint8", [5, 32]), int32([3], [1, 4, 0]), scales([5, 2])],
  },
  "int4": {
    opType: "GatherBlockQuantized",
    attributes: { block_size: int(16) },
    inputs: [integers("int4", [5, 32]), INDICES, scales([5, 2])],
  },
  "uint4 gathered along the last axis": {
    opType: "GatherBlockQuantized",
    attributes: { block_size: int(16), gather_axis: int(1), quantize_axis: int(0) },
    inputs: [integers("uint4", [32, 6]), INDICES, scales([2, 6]), integers("uint4", [2, 6])],
  },
};

for (const [what, test] of Object.entries(TABLES)) {
  // The kernel stays in the training graph: what can be wrong is the shape that graft infers.
  const inputs = test.inputs.map((input, i) =>
    i === 1 || input === undefined || "constant" in input ? input : constant(input)
  );
  Deno.test(
    `GatherBlockQuantized: ${what}`,
    () => checkFused({ ...test, inputs, since: [1, 23, 0] }),
  );
}
