/**
 * com.microsoft.DynamicQuantizeMatMul: a product with quantised weights whose activations the
 * kernel rounds to 8 bits. Training computes with float activations.
 */
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { namedInputs, required, requiredKnown } from "../contrib/support.ts";
import { matMulDims } from "../mat_mul.ts";
import { dequantizedColumns } from "./quantized_product.ts";

export const DynamicQuantizeMatMul: OpRule = {
  opType: "DynamicQuantizeMatMul",
  domain: MICROSOFT,
  since: 1,
  attributes: [],
  inputs: "3..5",
  outputs: "1",
  traits: { kind: "rounded product", rows: "mixed" },

  infer(node, inputs) {
    const a = requiredKnown(node, "A", inputs, 0);
    const b = requiredKnown(node, "B", inputs, 1);
    return [{ dtype: a.dtype, dims: matMulDims(node, a.dims, b.dims, 2) }];
  },

  lower(b, node) {
    const { A, B, b_scale, b_zero_point, bias } = namedInputs(
      node,
      ["A", "B", "b_scale", "b_zero_point", "bias"],
    );
    const weight = dequantizedColumns(
      b,
      required(node, "B", B),
      required(node, "b_scale", b_scale),
      b_zero_point,
    );
    const product = b.op("MatMul", [required(node, "A", A), weight]);
    return [bias === undefined ? product : b.op("Add", [product, bias])];
  },
};
