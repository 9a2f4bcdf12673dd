/** Operators that compute each row (all but the last axis) by itself, given the same constants for all. */
import { GRAFT, MICROSOFT, type Node } from "../graph/types.ts";

const ELEMENTWISE = new Set([
  ..."Abs Add And BiasGelu Cast Celu Clip Cos Div Elu Equal Erf Exp FastGelu Gelu".split(" "),
  ..."Greater HardSigmoid HardSwish Identity LeakyRelu Less Log Max Min Mish Mul Neg".split(" "),
  ..."Not Or Pow QuickGelu Reciprocal Relu Selu Sigmoid Sin Softplus Sqrt Sub SwiGLU SwiGLUAndFactors"
    .split(" "),
  ..."Tanh Where".split(" "),
]);
const DOMAINS = ["", MICROSOFT, GRAFT];

const NORMALIZATIONS = new Set([
  "LayerNormalization",
  "SimplifiedLayerNormalization",
  "RMSNormalization",
]);

/** Whether a node computes each entry by itself, its operands broadcast. */
export function isElementwise({ opType, domain }: Node): boolean {
  return ELEMENTWISE.has(opType) && DOMAINS.includes(domain);
}

/** Whether a node normalises over its axis and what lies behind it: by default, the last axis. */
export function isNormalization(node: Node): boolean {
  return NORMALIZATIONS.has(node.opType) && node.domain === "";
}
