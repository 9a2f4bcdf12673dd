/**
 * Elementwise functions of one value, with the algebra of their derivatives.
 *
 * Derivatives are what central differences give wherever those exist. At a kink: `Abs` takes 0 at 0 and
 * `Relu` takes 0 at 0, as in PyTorch. Where the slope is infinite (`Sqrt` at 0, `Log` and `Reciprocal` at 0)
 * the cotangent is infinite or NaN, as in PyTorch.
 */
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { roundHalfEven } from "../graph/round_half_even.ts";
import { intAttribute } from "../graph/attributes.ts";
import type { Node } from "../graph/types.ts";
import { required } from "./args.ts";
import { scalarLike } from "./broadcast.ts";
import { foldElementwise } from "./fold.ts";
import { elementwise, type Traits } from "./traits.ts";
import type { OpRule, TrainingRule } from "./types.ts";

const CHEAP = elementwise("other", "cheap");
const COSTLY = elementwise("other", "costly");
/** Traits of functions that stand between two layers; in memory they are like any other function. */
const ACTIVATION = elementwise("activation", "costly");
const CHEAP_ACTIVATION = elementwise("activation", "cheap");
const IN_PLACE: Traits = { ...CHEAP_ACTIVATION, memory: "in place" };

/** Derivative: x is the input, y the output, ct its cotangent. `undefined` if it is 0. */
type Derivative = (
  b: GraphBuilder,
  x: string,
  y: string,
  ct: string,
  node: Node,
) => string | undefined;

/** A rule for an elementwise function of one value that keeps the element type. */
export function unary(
  opType: string,
  traits: Traits,
  derivative: Derivative | undefined,
  fold?: (x: number) => number,
): TrainingRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes: [],
    inputs: "1",
    outputs: "1",
    traits,
    infer(node, inputs) {
      const x = required(node, inputs, 0);
      return [foldElementwise(x.dtype, x.dims, [x], fold)];
    },
    ...derivative === undefined ? {} : {
      vjp: (b, node, [ct]) => [derivative(b, node.inputs[0], node.outputs[0], ct!, node)],
    },
  };
}

/** A rule for a predicate: bool out, no gradient. */
function predicate(
  opType: string,
  test: (x: number, node: Node) => boolean,
): OpRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes: [],
    inputs: "1",
    outputs: "1",
    traits: COSTLY,
    infer(node, inputs) {
      const x: Known = required(node, inputs, 0);
      return [foldElementwise("bool", x.dims, [x], (value) => Number(test(value, node)))];
    },
  };
}

/** 1 - y². */
function oneMinusSquare(b: GraphBuilder, y: string): string {
  return b.op("Sub", [scalarLike(b, y, 1), b.op("Mul", [y, y])]);
}

const infinite = (x: number, node: Node) =>
  (x === Infinity && intAttribute(node, "detect_positive", 1) === 1) ||
  (x === -Infinity && intAttribute(node, "detect_negative", 1) === 1);

export const UNARY_RULES: readonly OpRule[] = [
  unary("Neg", CHEAP, (b, _x, _y, ct) => b.op("Neg", [ct]), (x) => -x),
  unary("Abs", COSTLY, (b, x, _y, ct) => b.op("Mul", [ct, b.op("Sign", [x])]), Math.abs),
  // d√x = 1 / 2√x
  unary(
    "Sqrt",
    CHEAP,
    (b, _x, y, ct) => b.op("Div", [b.op("Mul", [ct, scalarLike(b, y, 0.5)]), y]),
    Math.sqrt,
  ),
  // d(1/x) = -1/x²
  unary(
    "Reciprocal",
    CHEAP,
    (b, _x, y, ct) => b.op("Neg", [b.op("Mul", [ct, b.op("Mul", [y, y])])]),
    (x) => 1 / x,
  ),
  unary("Exp", COSTLY, (b, _x, y, ct) => b.op("Mul", [ct, y]), Math.exp),
  unary("Log", COSTLY, (b, x, _y, ct) => b.op("Div", [ct, x]), Math.log),
  // d erf(x) = 2/√π exp(-x²)
  {
    ...unary("Erf", CHEAP_ACTIVATION, (b, x, _y, ct) => {
      const gauss = b.op("Exp", [b.op("Neg", [b.op("Mul", [x, x])])]);
      return b.op("Mul", [ct, b.op("Mul", [gauss, scalarLike(b, x, 2 / Math.sqrt(Math.PI))])]);
    }),
    since: 9,
  },
  unary("Tanh", IN_PLACE, (b, _x, y, ct) => b.op("Mul", [ct, oneMinusSquare(b, y)]), Math.tanh),
  // dσ = σ(1 - σ)
  unary("Sigmoid", IN_PLACE, (b, _x, y, ct) => {
    const once = b.op("Mul", [ct, y]);
    return b.op("Sub", [once, b.op("Mul", [once, y])]);
  }),
  unary("Relu", IN_PLACE, (b, x, _y, ct) => {
    const zero = scalarLike(b, ct, 0);
    return b.op("Where", [b.op("Greater", [x, scalarLike(b, x, 0)]), ct, zero]);
  }, (x) => Math.max(x, 0)),
  unary("Sin", COSTLY, (b, x, _y, ct) => b.op("Mul", [ct, b.op("Cos", [x])]), Math.sin),
  unary(
    "Cos",
    COSTLY,
    (b, x, _y, ct) => b.op("Neg", [b.op("Mul", [ct, b.op("Sin", [x])])]),
    Math.cos,
  ),
  unary("Tan", COSTLY, (b, _x, y, ct) => {
    return b.op("Mul", [ct, b.op("Add", [b.op("Mul", [y, y]), scalarLike(b, y, 1)])]);
  }),
  unary("Atan", COSTLY, (b, x, _y, ct) => {
    return b.op("Div", [ct, b.op("Add", [b.op("Mul", [x, x]), scalarLike(b, x, 1)])]);
  }),
  // d log(1 + eˣ) = σ(x)
  unary("Softplus", ACTIVATION, (b, x, _y, ct) => b.op("Mul", [ct, b.op("Sigmoid", [x])])),
  // d x/(1 + |x|) = 1/(1 + |x|)²
  unary("Softsign", ACTIVATION, (b, x, _y, ct) => {
    const bottom = b.op("Add", [b.op("Abs", [x]), scalarLike(b, x, 1)]);
    return b.op("Div", [ct, b.op("Mul", [bottom, bottom])]);
  }),
  // Steps: the slope is 0 wherever there is one.
  { ...unary("Sign", COSTLY, () => undefined, Math.sign), since: 9 },
  unary("Floor", COSTLY, () => undefined, Math.floor),
  unary("Ceil", COSTLY, () => undefined, Math.ceil),
  { ...unary("Round", COSTLY, () => undefined, roundHalfEven), since: 11 },
  predicate("Not", (x) => x === 0),
  { ...predicate("IsNaN", Number.isNaN), since: 9 },
  {
    ...predicate("IsInf", infinite),
    since: 10,
    attributes: ["detect_negative", "detect_positive"],
  },
];
