/** com.microsoft.BiasSoftmax: softmax of scores plus a mask, over an axis and all axes after it. */
import { int, intAttribute } from "../../graph/attributes.ts";
import { productOf } from "../../graph/extent_arithmetic.ts";
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { inferLike, refuse } from "./support.ts";

export const BiasSoftmax: OpRule = {
  opType: "BiasSoftmax",
  domain: MICROSOFT,
  since: 1,
  attributes: ["axis", "is_inner_broadcast"],
  inputs: "2",
  outputs: "1",
  remark: "a bias of as many dimensions as the data",
  traits: { kind: "other", rows: "mixed" },

  infer: inferLike("data"),

  lower(b, node) {
    const [data, bias] = node.inputs;
    const shape = b.shape(data);
    // With as many dimensions as the data, both kinds of broadcast are NumPy's.
    if (b.shape(bias).length !== shape.length) {
      refuse(node, `an input "bias" of another rank than "data" ([${b.shape(bias)}], [${shape}])`);
    }
    const axis = intAttribute(node, "axis", 1);
    const first = axis < 0 ? axis + shape.length : axis;
    const sum = b.op("Add", [data, bias]);
    const flat = b.reshape(sum, [...shape.slice(0, first), productOf(shape.slice(first))]);
    return [b.reshape(b.op("Softmax", [flat], { axis: int(-1) }), shape)];
  },
};
