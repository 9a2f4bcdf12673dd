/**
 * Operators whose integer results come from activations: graft names them and says that it cannot
 * train through them, instead of letting the gradient end unnoticed.
 */
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { refuse, requiredKnown } from "../contrib/support.ts";
import { matMulDims } from "./quantized_product.ts";

/** QLinearMatMul: integers in, integers out, with scales fixed at export. */
export const qLinearMatMul: OpRule = {
  opType: "QLinearMatMul",
  domain: "",
  since: 10,
  remark: "refused: quantise in the QDQ format instead",
  infer(node, inputs) {
    const a = requiredKnown(node, "a", inputs, 0);
    const b = requiredKnown(node, "b", inputs, 3);
    const { dtype } = requiredKnown(node, "y_zero_point", inputs, 7);
    return [{ dtype, dims: matMulDims(node, a.dims, b.dims) }];
  },
  lower(_b, node) {
    refuse(node, "training (its activations are integers; quantise in the QDQ format instead)");
  },
};

/** com.microsoft.MatMulIntegerToFloat whose left operand `pattern.ts` could not trace to floats. */
export const matMulIntegerToFloat: OpRule = {
  opType: "MatMulIntegerToFloat",
  domain: MICROSOFT,
  remark: "after a quantising operator, with constant weights; else refused",
  infer(node, inputs) {
    const a = requiredKnown(node, "A", inputs, 0);
    const b = requiredKnown(node, "B", inputs, 1);
    const { dtype } = requiredKnown(node, "a_scale", inputs, 2);
    return [{ dtype, dims: matMulDims(node, a.dims, b.dims) }];
  },
  lower(_b, node) {
    refuse(
      node,
      "a left operand that no quantising operator made, or weights that are not constant",
    );
  },
};
