/**
 * DynamicQuantizeLinear: integers, scale and zero point from an activation.
 *
 * Before lowering, `pattern.ts` replaces it and the MatMulInteger behind it by floats; one that is left would
 * silently cut the gradient and is refused.
 */
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { refuse, requiredKnown } from "../contrib/support.ts";

export const DynamicQuantizeLinear: OpRule = {
  opType: "DynamicQuantizeLinear",
  domain: "",
  since: 11,
  attributes: [],
  inputs: "1",
  outputs: "3",
  remark: "before MatMulInteger; else refused",
  traits: mixed("other"),

  infer(node, inputs) {
    const { dims } = requiredKnown(node, "x", inputs, 0);
    return [
      { dtype: "uint8", dims },
      { dtype: "float32", dims: [] },
      { dtype: "uint8", dims: [] },
    ];
  },

  lower(_b, node) {
    refuse(node, "a use other than MatMulInteger with constant weights, Cast and scaling");
  },
};
