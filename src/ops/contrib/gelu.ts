/**
 * com.microsoft.Gelu and BiasGelu: x·Φ(x) with the normal distribution's Φ.
 *
 * The kernel is kept in training graphs: one pass forward. Hendrycks and Gimpel,
 * "Gaussian Error Linear Units", 2016.
 */
import { MICROSOFT } from "../../graph/types.ts";
import { emitSlope } from "../gelu.ts";
import { elementwise } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { inferLike, requiredKnown } from "./support.ts";

export const Gelu: OpRule = {
  opType: "Gelu",
  domain: MICROSOFT,
  since: 1,
  attributes: [],
  inputs: "1",
  outputs: "1",
  traits: elementwise("activation", "cheap"),

  infer(node, inputs) {
    const { dtype, dims } = requiredKnown(node, "X", inputs, 0);
    return [{ dtype, dims }];
  },

  vjp(b, node, [ct], [wanted]) {
    const [x] = node.inputs;
    return [ct !== undefined && wanted ? b.op("Mul", [ct, emitSlope(b, x)]) : undefined];
  },
};

export const BiasGelu: OpRule = {
  opType: "BiasGelu",
  domain: MICROSOFT,
  since: 1,
  attributes: [],
  inputs: "2",
  outputs: "1",
  traits: { kind: "activation", rows: "elementwise" },

  infer: inferLike("A"),

  lower(b, node) {
    return [b.microsoft("Gelu", [b.op("Add", [node.inputs[0], node.inputs[1]])])];
  },
};
