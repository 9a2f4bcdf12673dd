/** Cases of elementwise operators. */
import { float, int, string } from "../../../src/graph/attributes.ts";
import type { OpCase } from "../gradcheck.ts";
import { f, fc, typed } from "./inputs.ts";

/** At several points, at the given special ones, and on nothing at all. */
function unary(opType: string, points: readonly number[], rest: Partial<OpCase> = {}): OpCase[] {
  const name = rest.attributes === undefined ? "" : ` ${Object.keys(rest.attributes)}`;
  return [
    { title: `at points${name}`, opType, inputs: [f([points.length], points)], ...rest },
    { title: `on an empty value${name}`, opType, inputs: [f([2, 0])], ...rest },
  ];
}

/** Same shapes, both ways of broadcasting, a scalar, and zero sizes. */
function binary(opType: string, positive: "none" | "second" | "both" = "none"): OpCase[] {
  const shapes: [string, number[], number[]][] = [
    ["same shapes", [2, 3], [2, 3]],
    ["broadcast second", [2, 3, 2], [3, 1]],
    ["broadcast first", [1, 2], [3, 1, 2]],
    ["broadcast both", [3, 1], [2, 1, 4]],
    ["a scalar", [2, 2], []],
    ["no elements", [2, 0], [1, 1]],
  ];
  const points = (dims: number[], start: number) =>
    Array.from(
      { length: dims.reduce((x, y) => x * y, 1) },
      (_, i) => 0.6 + (i * 7 + start) % 5 / 4,
    );
  return shapes.map(([title, x, y]) => ({
    title,
    opType,
    inputs: [
      positive === "both" ? f(x, points(x, 1)) : f(x),
      positive === "none" ? f(y) : f(y, points(y, 2)),
    ],
  }));
}

const everywhere = [-2.5, -1, -0.3, 0, 0.4, 1, 2.2];
const offZero = [-2.5, -1, -0.3, 0.4, 1, 2.2];
const positive = [0.2, 0.5, 1, 2.5, 9];
const steps = [-2.7, -1.2, -0.6, 0.3, 0.8, 2.4];

export const ELEMENTWISE_CASES: readonly OpCase[] = [
  ...unary("Neg", everywhere),
  ...unary("Abs", everywhere),
  ...unary("Sqrt", positive),
  ...unary("Reciprocal", offZero),
  ...unary("Exp", everywhere),
  ...unary("Log", positive),
  ...unary("Erf", everywhere),
  ...unary("Tanh", everywhere),
  ...unary("Sigmoid", everywhere),
  ...unary("Relu", offZero),
  ...unary("Sin", everywhere),
  ...unary("Cos", everywhere),
  ...unary("Tan", [-1.2, -0.3, 0, 0.4, 1]),
  ...unary("Atan", everywhere),
  ...unary("Softplus", everywhere),
  ...unary("Softsign", offZero),
  ...unary("Softsign", [0], { tolerance: 0.02 }),
  ...unary("Sign", steps),
  ...unary("Floor", steps),
  ...unary("Ceil", steps),
  ...unary("Round", steps),
  ...unary("LeakyRelu", offZero),
  ...unary("LeakyRelu", offZero, { attributes: { alpha: float(0.3) } }),
  ...unary("Elu", offZero),
  ...unary("Elu", [0], { tolerance: 0.01 }),
  ...unary("Elu", offZero, { attributes: { alpha: float(0.5) } }),
  ...unary("HardSigmoid", [-3, -2, 0, 1, 2, 3]),
  ...unary("HardSigmoid", everywhere, { attributes: { alpha: float(0.5), beta: float(0.4) } }),
  ...unary("HardSwish", [-4, -2, 0, 1, 2.5, 5]),
  ...unary("Mish", everywhere, { opset: 18 }),
  ...unary("Selu", offZero),
  ...unary("Selu", offZero, { attributes: { alpha: float(0.5), gamma: float(1.3) } }),
  ...unary("Celu", offZero),
  ...unary("Celu", offZero, { attributes: { alpha: float(0.5) } }),
  ...unary("ThresholdedRelu", [-2.5, -1, 0.4, 1.2, 2.2]),
  ...unary("ThresholdedRelu", [-2.5, 0.4, 0.7, 2.2], { attributes: { alpha: float(0.5) } }),
  ...unary("Gelu", everywhere),
  ...unary("Gelu", everywhere, { attributes: { approximate: string("tanh") } }),
  ...unary("Swish", everywhere, { opset: 24, since: [1, 24] }),
  ...unary("Swish", everywhere, {
    opset: 24,
    since: [1, 24],
    attributes: { alpha: float(1.7) },
  }),
  ...binary("Add"),
  ...binary("Sub"),
  ...binary("Mul"),
  ...binary("Div", "second"),
  ...binary("Pow", "both"),
  {
    title: "whole numbers",
    opType: "Div",
    inputs: [
      typed("int64", [4], [7, -7, 8, 0]),
      typed("int64", [], [3]),
    ],
  },
  {
    title: "constant exponent 2, at 0 too",
    opType: "Pow",
    inputs: [f([5], [-2, -0.5, 0, 1, 3]), fc([], [2])],
  },
  {
    title: "constant exponent 3 in one dimension",
    opType: "Pow",
    inputs: [f([3], [-2, 0, 1]), fc([1], [3])],
  },
  {
    title: "constant exponents 1 and 0.5",
    opType: "Pow",
    inputs: [f([2, 2], [0.3, 1, 2, 4]), fc([], [0.5])],
  },
  { title: "constant exponent 1", opType: "Pow", inputs: [f([3]), fc([], [1])] },
  { title: "constant exponent 0", opType: "Pow", inputs: [f([3]), fc([], [0])] },
  { title: "exponents 0 and 2 at 0", opType: "Pow", inputs: [f([2], [0, 0]), fc([2], [0, 2])] },
  {
    title: "a whole exponent",
    opType: "Pow",
    inputs: [
      f([3], [-1, 0.5, 2]),
      { ...typed("int64", [3], [2, 3, 1]), constant: true },
    ],
  },
  {
    title: "whole numbers",
    opType: "Mod",
    inputs: [
      typed("int64", [6], [-5, 5, -5, 5, 0, 6]),
      typed("int64", [6], [3, 3, -3, -3, 3, 3]),
    ],
  },
  {
    title: "as C does",
    opType: "Mod",
    wrt: [],
    attributes: { fmod: int(1) },
    inputs: [
      f([4], [-5.5, 5.5, -0.5, 2]),
      fc([], [2]),
    ],
  },
  { title: "three operands", opType: "Sum", inputs: [f([2, 3]), f([3]), f([2, 1])] },
  { title: "one operand", opType: "Sum", inputs: [f([2])] },
  { title: "three operands", opType: "Mean", inputs: [f([2, 3]), f([3]), f([])] },
  { title: "two operands", opType: "Min", inputs: [f([4], [-1, 0, 1, 2]), f([], [0.5])] },
  {
    title: "three operands",
    opType: "Max",
    inputs: [f([3], [-1, 0, 3]), f([1], [0.5]), f([3], [1, 0, 2])],
  },
  { title: "equal operands share", opType: "Max", inputs: [f([2], [1, 2]), f([2], [1, 3])] },
  {
    title: "whole numbers",
    opType: "Max",
    inputs: [
      typed("int64", [3], [1, 2, 3]),
      typed("int64", [], [2]),
    ],
  },
  {
    title: "both bounds",
    opType: "Clip",
    inputs: [f([5], [-2, -0.5, 0.1, 0.7, 3]), fc([], [-1]), fc([], [1])],
  },
  { title: "a lower bound alone", opType: "Clip", inputs: [f([3], [-2, 0, 2]), fc([], [-1])] },
  {
    title: "an upper bound alone",
    opType: "Clip",
    inputs: [f([3], [-2, 0, 2]), undefined, fc([], [1])],
  },
  {
    title: "bounds as attributes",
    opType: "Clip",
    opset: 6,
    inputs: [f([3], [-2, 0, 2])],
    attributes: {
      min: float(-1),
      max: float(1),
    },
  },
  {
    title: "one slope a channel of images, one of them zero",
    opType: "PRelu",
    inputs: [f([2, 2, 1, 2], [-2, 1, -0.5, 3, 2, -1, -3, 0.5]), f([2, 1, 1], [0, 0.25])],
  },
  {
    title: "one slope for all",
    opType: "PRelu",
    inputs: [f([4], [-2, -0.5, 0.5, 2]), f([1], [-0.5])],
  },
  {
    title: "one slope a channel",
    opType: "PRelu",
    inputs: [f([2, 3], [-2, -1, 0.4, 1, -3, 2]), f([3])],
  },
  {
    title: "both branches",
    opType: "Where",
    inputs: [typed("bool", [2, 1], [1, 0]), f([2, 3]), f([3])],
  },
  {
    title: "a condition of more dimensions",
    opType: "Where",
    inputs: [
      typed("bool", [2, 2], [1, 0, 0, 1]),
      f([2]),
      f([]),
    ],
  },
  {
    title: "infinity and not-a-number unselected",
    opType: "Where",
    wrt: [1],
    inputs: [
      typed("bool", [3], [1, 1, 0]),
      f([3]),
      fc([3], [-Infinity, NaN, -1e9]),
    ],
  },
  {
    title: "64-bit sentinels",
    opType: "Where",
    inputs: [
      typed("bool", [2], [1, 0]),
      typed("int64", [2], [2, 3]),
      typed("int64", [], [-1]),
    ],
  },
  { title: "no elements", opType: "Where", inputs: [typed("bool", [1], [1]), f([0, 2]), f([2])] },
  ...["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"].map((opType): OpCase => ({
    title: "broadcast",
    opType,
    wrt: [],
    inputs: [f([2, 3], [1, 2, 3, 4, 5, 6]), f([3], [1, 3, 3])],
  })),
  ...["And", "Or", "Xor"].map((opType): OpCase => ({
    title: "broadcast",
    opType,
    inputs: [typed("bool", [2, 2], [0, 0, 1, 1]), typed("bool", [2], [0, 1])],
  })),
  { title: "both", opType: "Not", inputs: [typed("bool", [2], [0, 1])] },
  { title: "all kinds", opType: "IsNaN", wrt: [], inputs: [f([4], [NaN, Infinity, 0, -1])] },
  {
    title: "both signs",
    opType: "IsInf",
    wrt: [],
    inputs: [f([4], [NaN, Infinity, -Infinity, 1])],
  },
  {
    title: "negative alone",
    opType: "IsInf",
    wrt: [],
    attributes: { detect_positive: int(0) },
    inputs: [
      f([3], [Infinity, -Infinity, 1]),
    ],
  },
  {
    title: "halves",
    opType: "Round",
    wrt: [],
    inputs: [f([6], [-1.5, -0.5, 0.5, 1.5, 2.5, 0.49999])],
  },
  { title: "a base of 0", opType: "Pow", wrt: [1], inputs: [f([2], [0, 2]), f([2], [1.5, 1.5])] },
];
