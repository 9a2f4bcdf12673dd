/**
 * com.microsoft.MatMulIntegerToFloat: an integer matrix product, scaled to floats.
 *
 * Before lowering, `pattern.ts` replaces it by a float product with dequantised weights; one that is left
 * would silently cut the gradient and is refused.
 */
import { MICROSOFT } from "../../graph/types.ts";
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { refuse, requiredKnown } from "../contrib/support.ts";
import { matMulDims } from "../mat_mul.ts";

export const MatMulIntegerToFloat: OpRule = {
  opType: "MatMulIntegerToFloat",
  domain: MICROSOFT,
  since: 1,
  attributes: [],
  inputs: "4..7",
  outputs: "1",
  remark: "after a quantising operator, with constant weights; else refused",
  traits: mixed("rounded product"),
  infer(node, inputs) {
    const a = requiredKnown(node, "A", inputs, 0);
    const b = requiredKnown(node, "B", inputs, 1);
    const { dtype } = requiredKnown(node, "a_scale", inputs, 2);
    return [{ dtype, dims: matMulDims(node, a.dims, b.dims, 2) }];
  },
  lower(_b, node) {
    refuse(
      node,
      "a left operand that no quantising operator made, or weights that are not constant",
    );
  },
};
