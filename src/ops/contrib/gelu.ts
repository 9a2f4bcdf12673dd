/**
 * com.microsoft.Gelu and BiasGelu: x·Φ(x) with the normal distribution's Φ.
 *
 * The kernel is kept in training graphs: one pass forward. Hendrycks and Gimpel,
 * "Gaussian Error Linear Units", 2016.
 */
import type { GraphBuilder } from "../../graph/builder.ts";
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { inferLike, onlyAttributes, requiredKnown, scalarOf } from "./support.ts";

/** d/dx x·Φ(x) = Φ(x) + x·φ(x), where Φ(x) = (1 + erf(x/√2))/2 and φ(x) = exp(-x²/2)/√(2π). */
function slope(b: GraphBuilder, x: string): string {
  const { dtype } = b.known(x);
  const scalar = (value: number) => scalarOf(b, dtype, value);
  const erf = b.op("Erf", [b.op("Mul", [x, scalar(Math.SQRT1_2)])]);
  const cumulative = b.op("Mul", [b.op("Add", [erf, scalar(1)]), scalar(0.5)]);
  const exponent = b.op("Mul", [b.op("Mul", [x, x]), scalar(-0.5)]);
  const density = b.op("Mul", [b.op("Exp", [exponent]), scalar(1 / Math.sqrt(2 * Math.PI))]);
  return b.op("Add", [cumulative, b.op("Mul", [x, density])]);
}

export const gelu: OpRule = {
  opType: "Gelu",
  domain: MICROSOFT,

  infer(node, inputs) {
    onlyAttributes(node, []);
    const { dtype, dims } = requiredKnown(node, "X", inputs, 0);
    return [{ dtype, dims }];
  },

  vjp(b, node, [ct], [wanted]) {
    return [ct !== undefined && wanted ? b.op("Mul", [ct, slope(b, node.inputs[0])]) : undefined];
  },
};

export const biasGelu: OpRule = {
  opType: "BiasGelu",
  domain: MICROSOFT,

  infer: inferLike("A"),

  lower(b, node) {
    onlyAttributes(node, []);
    return [b.microsoft("Gelu", [b.op("Add", [node.inputs[0], node.inputs[1]])])];
  },
};
