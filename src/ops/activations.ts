/** Activation functions with parameters, and Clip. At a kink each takes PyTorch's slope. */
import { float, floatAttribute, stringAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { required, unsupported } from "./args.ts";
import { broadcastDims, reduceTo, scalarLike } from "./broadcast.ts";
import { foldElementwise } from "./fold.ts";
import { emitSlope } from "./gelu.ts";
import { inferLikeInput } from "./like_input.ts";
import { elementwise } from "./traits.ts";
import type { LoweredRule, OpRule } from "./types.ts";
import { unary } from "./unary.ts";

const CHEAP = elementwise("activation", "cheap");
const COSTLY = elementwise("activation", "costly");

/** Activation functions that are lowered to others. */
const LOWERED = {
  domain: "",
  attributes: [],
  inputs: "1",
  outputs: "1",
  traits: { kind: "activation", rows: "elementwise" },
  infer: inferLikeInput,
} as const;

/** `value` where 0 < y < 1, else 0. */
function betweenZeroAndOne(b: GraphBuilder, y: string, value: string): string {
  const zero = scalarLike(b, y, 0);
  const inside = b.op("And", [
    b.op("Greater", [y, zero]),
    b.op("Less", [y, scalarLike(b, y, 1)]),
  ]);
  return b.op("Where", [inside, value, zero]);
}

/**
 * Slope of ½x(1 + tanh u) with u = √(2/π)·(x + 0.044715x³):
 * ½(1 + tanh u) + ½x(1 - tanh² u)·u'.
 */
function tanhGeluSlope(b: GraphBuilder, x: string): string {
  const c = Math.sqrt(2 / Math.PI);
  const number = (value: number) => scalarLike(b, x, value);
  const square = b.op("Mul", [x, x]);
  const inner = b.op("Add", [b.op("Mul", [square, number(0.044715 * c)]), number(c)]);
  const t = b.op("Tanh", [b.op("Mul", [x, inner])]);
  const innerSlope = b.op("Add", [b.op("Mul", [square, number(3 * 0.044715 * c)]), number(c)]);
  const half = b.op("Mul", [b.op("Add", [t, number(1)]), number(0.5)]);
  // ½(1 - t²) = half·(1 - t)
  const bell = b.op("Mul", [half, b.op("Sub", [number(1), t])]);
  return b.op("Add", [half, b.op("Mul", [b.op("Mul", [x, bell]), innerSlope])]);
}

const Clip: OpRule = {
  opType: "Clip",
  domain: "",
  since: 7,
  attributes: ["max", "min"],
  inputs: "1..3",
  outputs: "1",
  remark: "constant bounds",
  traits: elementwise("other", "costly"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const bounds = [inputs[1], inputs[2]];
    if (node.attributes.min !== undefined || node.attributes.max !== undefined) {
      return [{ dtype: x.dtype, dims: x.dims }];
    }
    const given = bounds.flatMap((bound) => bound === undefined ? [] : [bound]);
    return [foldElementwise(x.dtype, x.dims, [x, ...given], (value, ...rest) => {
      const low = bounds[0] === undefined ? -Infinity : rest[0];
      const high = bounds[1] === undefined ? Infinity : rest[rest.length - 1];
      return Math.min(Math.max(value, low), high);
    })];
  },
  /** The bounds were attributes before operator set 11. */
  lower(b, node) {
    const { min, max } = node.attributes;
    if (min === undefined && max === undefined) return undefined;
    const bound = (name: string) => {
      const value = floatAttribute(node, name, undefined);
      return value === undefined ? "" : scalarLike(b, node.inputs[0], value);
    };
    return [b.op("Clip", [node.inputs[0], bound("min"), bound("max")])];
  },
  /** The cotangent passes only where nothing was clipped. */
  vjp(b, node, [ct], wanted) {
    if (wanted[1] || wanted[2]) throw unsupported(node, "its bounds depend on what is trained");
    const kept = b.op("Equal", [node.inputs[0], node.outputs[0]]);
    return [b.op("Where", [kept, ct!, scalarLike(b, ct!, 0)]), undefined, undefined];
  },
};

const PRelu: OpRule = {
  opType: "PRelu",
  domain: "",
  since: 7,
  attributes: [],
  inputs: "2",
  outputs: "1",
  traits: COSTLY,
  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    broadcastDims(dims, required(node, inputs, 1).dims);
    return [{ dtype, dims }];
  },
  vjp(b, node, [ct], wanted) {
    const [x, slope] = node.inputs;
    const zero = scalarLike(b, ct!, 0);
    const below = b.op("Less", [x, scalarLike(b, x, 0)]);
    const dx = () => b.op("Where", [below, b.op("Mul", [ct!, slope]), ct!]);
    const dslope = () =>
      reduceTo(b, b.op("Where", [below, b.op("Mul", [ct!, x]), zero]), b.dims(slope));
    return [wanted[0] ? dx() : undefined, wanted[1] ? dslope() : undefined];
  },
};

/** x·tanh(log(1 + eˣ)). */
const Mish: LoweredRule = {
  ...LOWERED,
  opType: "Mish",
  since: 18,
  lower: (b, { inputs: [x] }) => [b.op("Mul", [x, b.op("Tanh", [b.op("Softplus", [x])])])],
};

/** γ·Elu(x) with Elu's α. */
const Selu: LoweredRule = {
  ...LOWERED,
  opType: "Selu",
  since: 7,
  attributes: ["alpha", "gamma"],
  lower(b, node) {
    const [x] = node.inputs;
    const alpha = floatAttribute(node, "alpha", 1.67326319217681884765625);
    const gamma = floatAttribute(node, "gamma", 1.05070102214813232421875);
    const elu = b.op("Elu", [x], { alpha: float(alpha) });
    return [b.op("Mul", [elu, scalarLike(b, x, gamma)])];
  },
};

/** x where it is positive, else α·(e^(x/α) - 1): α·Elu(x/α) with Elu's own α 1. */
const Celu: LoweredRule = {
  ...LOWERED,
  opType: "Celu",
  since: 12,
  attributes: ["alpha"],
  lower(b, node) {
    const [x] = node.inputs;
    const alpha = floatAttribute(node, "alpha", 1);
    if (alpha === 1) return [b.op("Elu", [x])];
    const elu = b.op("Elu", [b.op("Mul", [x, scalarLike(b, x, 1 / alpha)])]);
    return [b.op("Mul", [elu, scalarLike(b, x, alpha)])];
  },
};

/** x where it is above α, else 0. */
const ThresholdedRelu: LoweredRule = {
  ...LOWERED,
  opType: "ThresholdedRelu",
  since: 10,
  attributes: ["alpha"],
  lower(b, node) {
    const [x] = node.inputs;
    const above = b.op("Greater", [x, scalarLike(b, x, floatAttribute(node, "alpha", 1))]);
    return [b.op("Where", [above, x, scalarLike(b, x, 0)])];
  },
};

/** Swish (operator set 24): x·σ(αx). */
const Swish: LoweredRule = {
  ...LOWERED,
  opType: "Swish",
  since: 24,
  attributes: ["alpha"],
  lower(b, node) {
    const [x] = node.inputs;
    const alpha = floatAttribute(node, "alpha", 1);
    const scaled = alpha === 1 ? x : b.op("Mul", [x, scalarLike(b, x, alpha)]);
    return [b.op("Mul", [x, b.op("Sigmoid", [scaled])])];
  },
};

export const ACTIVATION_RULES: readonly OpRule[] = [
  {
    ...unary("LeakyRelu", COSTLY, (b, x, _y, ct, node) => {
      const slope = floatAttribute(node, "alpha", 0.01);
      const below = b.op("Mul", [ct, scalarLike(b, ct, slope)]);
      return b.op("Where", [b.op("Less", [x, scalarLike(b, x, 0)]), below, ct]);
    }),
    attributes: ["alpha"],
  },
  // x ≤ 0: α(eˣ - 1), whose slope is y + α
  {
    ...unary("Elu", COSTLY, (b, x, y, ct, node) => {
      const alpha = floatAttribute(node, "alpha", 1);
      const below = b.op("Mul", [ct, b.op("Add", [y, scalarLike(b, y, alpha)])]);
      return b.op("Where", [b.op("Greater", [x, scalarLike(b, x, 0)]), ct, below]);
    }),
    attributes: ["alpha"],
  },
  // max(0, min(1, αx + β))
  {
    ...unary("HardSigmoid", COSTLY, (b, _x, y, ct, node) => {
      const slope = floatAttribute(node, "alpha", 0.2);
      return betweenZeroAndOne(b, y, b.op("Mul", [ct, scalarLike(b, ct, slope)]));
    }),
    attributes: ["alpha", "beta"],
  },
  // x·h with h = max(0, min(1, x/6 + 1/2)): h + x/6 inside, h outside
  {
    ...unary("HardSwish", COSTLY, (b, x, _y, ct) => {
      const sixth = scalarLike(b, x, 1 / 6);
      const h = b.op("HardSigmoid", [x], { alpha: float(1 / 6), beta: float(0.5) });
      const inside = betweenZeroAndOne(b, h, b.op("Mul", [x, sixth]));
      return b.op("Mul", [ct, b.op("Add", [h, inside])]);
    }),
    since: 14,
  },
  {
    ...unary("Gelu", CHEAP, (b, x, _y, ct, node) => {
      const exact = stringAttribute(node, "approximate", "none") === "none";
      return b.op("Mul", [ct, exact ? emitSlope(b, x) : tanhGeluSlope(b, x)]);
    }),
    since: 20,
    attributes: ["approximate"],
  },
  Celu,
  Clip,
  Mish,
  PRelu,
  Selu,
  Swish,
  ThresholdedRelu,
];
