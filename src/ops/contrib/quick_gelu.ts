/** com.microsoft.QuickGelu: x·sigmoid(α·x), which is SiLU for α = 1. The kernel is kept for training. */
import { floatAttribute } from "../../graph/attributes.ts";
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { onlyAttributes, requiredKnown, scalarOf } from "./support.ts";

export const quickGelu: OpRule = {
  opType: "QuickGelu",
  domain: MICROSOFT,

  infer(node, inputs) {
    onlyAttributes(node, ["alpha"]);
    const { dtype, dims } = requiredKnown(node, "X", inputs, 0);
    return [{ dtype, dims }];
  },

  /** s + α·x·s·(1 - s), where s = sigmoid(α·x). */
  vjp(b, node, [ct], [wanted]) {
    if (ct === undefined || !wanted) return [undefined];
    const [x] = node.inputs;
    const { dtype } = b.known(x);
    const scaled = b.op("Mul", [x, scalarOf(b, dtype, floatAttribute(node, "alpha", 1.702))]);
    const s = b.op("Sigmoid", [scaled]);
    const rest = b.op("Sub", [scalarOf(b, dtype, 1), s]);
    const inner = b.op("Add", [b.op("Mul", [scaled, rest]), scalarOf(b, dtype, 1)]);
    return [b.op("Mul", [ct, b.op("Mul", [s, inner])])];
  },
};
