/**
 * com.microsoft.QAttention: Attention with quantised weights and activations.
 *
 * Before lowering, `pattern.ts` turns it into an Attention with dequantised weights; one that is left would
 * silently cut the gradient and is refused.
 */
import { intAttribute } from "../../graph/attributes.ts";
import { asDims, extentsOf } from "../../graph/extents.ts";
import { plus } from "../../graph/extent_arithmetic.ts";
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { refuse, requiredKnown } from "../contrib/support.ts";

export const QAttention: OpRule = {
  opType: "QAttention",
  domain: MICROSOFT,
  since: 1,
  attributes: [
    "num_heads",
    "unidirectional",
    "scale",
    "mask_filter_value",
    "do_rotary",
    "past_present_share_buffer",
  ],
  inputs: "5..9",
  outputs: "1..2",
  remark: "after a quantising operator, with constant weights; else refused",
  traits: { kind: "rounded attention", rows: "mixed" },

  infer(node, inputs) {
    const [batch, tokens] = extentsOf(requiredKnown(node, "input", inputs, 0).dims);
    const hidden = requiredKnown(node, "weight", inputs, 1).dims[1] / 3;
    const { dtype } = requiredKnown(node, "bias", inputs, 2);
    const heads = intAttribute(node, "num_heads", 1);
    const past = inputs[8] === undefined ? 0 : extentsOf(inputs[8].dims)[3];
    return [
      { dtype, dims: asDims([batch, tokens, hidden]) },
      { dtype, dims: asDims([2, batch, heads, plus(past, tokens), hidden / heads]) },
    ];
  },

  lower(_b, node) {
    refuse(node, "an input that no quantising operator made, or weights that are not constant");
  },
};
