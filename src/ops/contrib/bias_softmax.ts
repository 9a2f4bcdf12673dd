/** com.microsoft.BiasSoftmax: softmax of scores and an added mask, over an axis and all behind it. */
import { int, intAttribute } from "../../graph/attributes.ts";
import { elementCount } from "../../graph/tensor.ts";
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
    const dims = b.dims(data);
    // With as many dimensions as the data, both kinds of broadcast are NumPy's.
    if (b.dims(bias).length !== dims.length) {
      refuse(node, `an input "bias" of another rank than "data" ([${b.dims(bias)}], [${dims}])`);
    }
    const axis = intAttribute(node, "axis", 1);
    const first = axis < 0 ? axis + dims.length : axis;
    const sum = b.op("Add", [data, bias]);
    const flat = b.reshape(sum, [...dims.slice(0, first), elementCount(dims.slice(first))]);
    return [b.reshape(b.op("Softmax", [flat], { axis: int(-1) }), dims)];
  },
};
