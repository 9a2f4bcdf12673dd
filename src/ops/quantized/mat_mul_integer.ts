/**
 * MatMulInteger: an integer matrix product.
 *
 * Before lowering, `pattern.ts` replaces it by a float product with dequantised weights; one that is left has
 * operands that graft cannot dequantise and is refused.
 */
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { refuse, requiredKnown } from "../contrib/support.ts";
import { matMulDims } from "../mat_mul.ts";

export const MatMulInteger: OpRule = {
  opType: "MatMulInteger",
  domain: "",
  since: 10,
  attributes: [],
  inputs: "2..4",
  outputs: "1",
  remark: "after DynamicQuantizeLinear, with constant weights; else refused",
  traits: mixed("rounded product"),

  infer(node, inputs) {
    const a = requiredKnown(node, "A", inputs, 0);
    const b = requiredKnown(node, "B", inputs, 1);
    return [{ dtype: "int32", dims: matMulDims(node, a.dims, b.dims, 2) }];
  },

  lower(_b, node) {
    refuse(node, "a product other than DynamicQuantizeLinear by constant weights, cast and scaled");
  },
};
