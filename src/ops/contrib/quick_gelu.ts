/** com.microsoft.QuickGelu: x·sigmoid(α·x), which is SiLU for α = 1. The kernel is kept for training. */
import { floatAttribute } from "../../graph/attributes.ts";
import { MICROSOFT } from "../../graph/types.ts";
import { elementwise } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { scalarOf } from "../broadcast.ts";
import { requiredKnown } from "./support.ts";

export const QuickGelu: OpRule = {
  opType: "QuickGelu",
  domain: MICROSOFT,
  since: 1,
  attributes: ["alpha"],
  inputs: "1",
  outputs: "1",
  traits: elementwise("activation", "cheap"),

  infer(node, inputs) {
    const { dtype, dims } = requiredKnown(node, "X", inputs, 0);
    return [{ dtype, dims }];
  },

  /**
   * s + α·y·(1 - s), where s = sigmoid(α·x) and y = x·s: as s + (z - z·s) with z = α·y.
   */
  vjp(b, node, [ct], [wanted]) {
    if (ct === undefined || !wanted) return [undefined];
    const [x] = node.inputs;
    const alpha = floatAttribute(node, "alpha", 1.702);
    const scaled = alpha === 1 ? x : b.op("Mul", [x, scalarOf(b, b.known(x).dtype, alpha)]);
    const s = b.op("Sigmoid", [scaled]);
    const z = b.op("Mul", [scaled, s]);
    const slope = b.op("Add", [s, b.op("Sub", [z, b.op("Mul", [z, s])])]);
    return [b.op("Mul", [ct, slope])];
  },
};
