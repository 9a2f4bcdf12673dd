/** com.microsoft.BiasAdd: X + bias + skip. */
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { onlyAttributes, requiredKnown } from "./support.ts";

export const biasAdd: OpRule = {
  opType: "BiasAdd",
  domain: MICROSOFT,

  infer(node, inputs) {
    const { dtype, dims } = requiredKnown(node, "X", inputs, 0);
    return [{ dtype, dims }];
  },

  lower(b, node) {
    onlyAttributes(node, []);
    const [x, bias, skip] = node.inputs;
    return [b.op("Add", [b.op("Add", [x, bias]), skip])];
  },
};
