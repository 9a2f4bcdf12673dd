/**
 * QuantizeLinear, ONNX's and ONNX Runtime's.
 *
 * Pairs with DequantizeLinear on activations are rewritten to floats before lowering (`pattern.ts`). What is
 * left quantises constants, which needs no gradient; anything else would silently cut the gradient and is
 * refused.
 */
import { intAttribute } from "../../graph/attributes.ts";
import { dataTypeOf } from "../../graph/dtype.ts";
import { MICROSOFT } from "../../graph/types.ts";
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { refuse, requiredKnown } from "../contrib/support.ts";
import { checkScales } from "./dequantize_linear.ts";

const rule = (domain: string): OpRule => ({
  opType: "QuantizeLinear",
  domain,
  remark: "of constants, or before DequantizeLinear; else refused",
  since: domain === "" ? 10 : 1,
  attributes: ["axis", "saturate", "block_size", "output_dtype"],
  inputs: "2..3",
  outputs: "1",
  traits: mixed("other"),

  infer(node, inputs) {
    const x = requiredKnown(node, "x", inputs, 0);
    checkScales(node, x.dims, requiredKnown(node, "y_scale", inputs, 1).dims);
    const asked = dataTypeOf(intAttribute(node, "output_dtype", 0));
    return [{ dtype: inputs[2]?.dtype ?? asked ?? "uint8", dims: x.dims }];
  },

  lower(b, node) {
    if (b.known(node.inputs[0]).value === undefined) {
      refuse(node, "integers computed from activations (without a matching DequantizeLinear)");
    }
    return domain === "" ? undefined : [b.op("QuantizeLinear", node.inputs, node.attributes)];
  },
});

export const QuantizeLinear: OpRule = rule("");
export const MicrosoftQuantizeLinear: OpRule = rule(MICROSOFT);
