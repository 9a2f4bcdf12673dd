/** Add, Sub, Mul, Div, Pow and Mod, with broadcasting. */
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { intAttribute } from "../graph/attributes.ts";
import { extentsOf } from "../graph/extents.ts";
import { isFloating } from "../graph/dtype.ts";
import { isAtMost, minus, over, plus, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { toNumbers } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { required, sameType } from "./args.ts";
import { castTo } from "./cast.ts";
import { broadcastDims, reduceTo, scalarLike } from "./broadcast.ts";
import { foldElementwise } from "./fold.ts";
import { elementwise } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** The two operands. */
export function operands(node: Node, inputs: readonly (Known | undefined)[]): [Known, Known] {
  return [required(node, inputs, 0), required(node, inputs, 1)];
}

type Gradients = (
  b: GraphBuilder,
  node: Node,
  ct: string,
  wanted: readonly boolean[],
) => readonly (string | undefined)[];

/** Traits of Add, Sub, Mul and Div. */
const CHEAP = elementwise("other", "cheap");
const COSTLY = elementwise("other", "costly");

function arithmetic(
  opType: string,
  fold: (dtype: Known["dtype"], node: Node) => (x: number, y: number) => number,
  extentOf: (x: Extent, y: Extent) => Extent | undefined,
  gradients: Gradients,
): OpRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes: [],
    inputs: "2",
    outputs: "1",
    traits: CHEAP,
    infer(node, inputs) {
      const pair = operands(node, inputs);
      const dtype = sameType(node, pair);
      const dims = broadcastDims(pair[0].dims, pair[1].dims);
      // Sums and products of floats are rounded.
      const ofWholes = isFloating(dtype) ? undefined : extentOf;
      return [foldElementwise(dtype, dims, pair, fold(dtype, node), ofWholes)];
    },
    vjp(b, node, [ct], wanted) {
      return gradients(b, node, ct!, wanted)
        .map((out, i) => out === undefined ? undefined : reduceTo(b, out, b.dims(node.inputs[i])));
    },
  };
}

const divide = (dtype: Known["dtype"]) =>
  isFloating(dtype) ? (x: number, y: number) => x / y : (x: number, y: number) => Math.trunc(x / y);

/** Constant exponents that occur are 2 (variance), 0.5 and 3 (GELU): c·x^(c-1). */
function constantPower(b: GraphBuilder, x: string, ct: string, exponent: number) {
  if (exponent === 0) return undefined;
  if (exponent === 1) return ct;
  const power = exponent === 2 ? x : b.op("Pow", [x, scalarLike(b, x, exponent - 1)]);
  return b.op("Mul", [ct, b.op("Mul", [power, scalarLike(b, x, exponent)])]);
}

/** The number that all elements of a constant equal, `undefined` if there is none. */
function uniform(known: Known): number | undefined {
  if (known.value === undefined || extentsOf(known.dims).some((dim) => dim !== 1)) return undefined;
  return toNumbers(known.value)[0];
}

const Pow: OpRule = {
  opType: "Pow",
  domain: "",
  since: 7,
  attributes: [],
  inputs: "2",
  outputs: "1",
  traits: CHEAP,
  infer(node, inputs) {
    const [x, exponent] = operands(node, inputs);
    return [
      foldElementwise(x.dtype, broadcastDims(x.dims, exponent.dims), [x, exponent], Math.pow),
    ];
  },
  /**
   * The exponent's slope y·ln x is taken as 0 at x = 0, and the base's as 0 where the exponent is 0, as in
   * PyTorch; a slope that is infinite at 0 (exponents below 1) stays infinite.
   */
  vjp(b, node, [ct], wanted) {
    const [x, exponent] = node.inputs;
    const out: (string | undefined)[] = [undefined, undefined];
    const constant = uniform(b.known(exponent));
    if (wanted[0] && constant !== undefined) {
      const dx = constantPower(b, x, ct!, constant);
      out[0] = dx === undefined ? undefined : reduceTo(b, dx, b.dims(x));
    } else if (wanted[0]) {
      const like = b.known(x).dtype === b.known(exponent).dtype
        ? exponent
        : castTo(b, exponent, b.known(x).dtype);
      const power = b.op("Pow", [x, b.op("Sub", [like, scalarLike(b, x, 1)])]);
      const flat = b.op("Equal", [like, scalarLike(b, x, 0)]);
      const slope = b.op("Where", [flat, scalarLike(b, x, 0), b.op("Mul", [power, like])]);
      out[0] = reduceTo(b, b.op("Mul", [ct!, slope]), b.dims(x));
    }
    if (wanted[1] && isFloating(b.known(exponent).dtype)) {
      const atZero = b.op("Equal", [x, scalarLike(b, x, 0)]);
      const log = b.op("Where", [atZero, scalarLike(b, x, 0), b.op("Log", [x])]);
      const slope = b.op("Mul", [node.outputs[0], log]);
      out[1] = reduceTo(b, b.op("Mul", [ct!, slope]), b.dims(exponent));
    }
    return out;
  },
};

/** `fmod` 0: the sign of the divisor (integers); 1: C's fmod, the sign of the dividend. */
const Mod: OpRule = {
  opType: "Mod",
  domain: "",
  since: 10,
  attributes: ["fmod"],
  inputs: "2",
  outputs: "1",
  traits: COSTLY,
  infer(node, inputs) {
    const pair = operands(node, inputs);
    const c = intAttribute(node, "fmod", 0) === 1;
    return [
      foldElementwise(
        sameType(node, pair),
        broadcastDims(pair[0].dims, pair[1].dims),
        pair,
        (x, y) => c ? x % y : x - y * Math.floor(x / y),
      ),
    ];
  },
};

/** Shape inference of an operator over any number of operands of one type. */
function variadicInfer(
  fold: (...values: number[]) => number,
  extentOf?: (...values: Extent[]) => Extent,
): OpRule["infer"] {
  return (node, inputs) => {
    const all = inputs.map((_, i) => required(node, inputs, i));
    const dims = broadcastDims(...all.map((i) => i.dims));
    return [foldElementwise(sameType(node, all), dims, all, fold, extentOf)];
  };
}

/** Add and Mean of any number of operands. */
function variadicSum(opType: string, average: boolean): OpRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes: [],
    inputs: "1..",
    outputs: "1",
    traits: COSTLY,
    infer: variadicInfer((...values) =>
      values.reduce((x, y) => x + y, 0) * (average ? 1 / values.length : 1)
    ),
    vjp(b, node, [ct], wanted) {
      const share = average ? b.op("Mul", [ct!, scalarLike(b, ct!, 1 / node.inputs.length)]) : ct!;
      return node.inputs.map((name, i) => wanted[i] ? reduceTo(b, share, b.dims(name)) : undefined);
    },
  };
}

/** Min and Max. Equal largest (smallest) operands share the cotangent, as central differences do. */
function extreme(
  opType: string,
  fold: (...values: number[]) => number,
  prefers: (x: Extent, y: Extent) => boolean,
): OpRule {
  const extentOf = (...values: Extent[]) => values.reduce((x, y) => prefers(x, y) ? x : y);
  return {
    opType,
    domain: "",
    since: 7,
    attributes: [],
    inputs: "1..",
    outputs: "1",
    traits: elementwise("other", "moderate"),
    infer: variadicInfer(fold, extentOf),
    vjp(b, node, [ct], wanted) {
      const y = node.outputs[0];
      const won = node.inputs.map((name) => castTo(b, b.op("Equal", [name, y]), b.known(y).dtype));
      const share = b.op("Div", [ct!, won.reduce((sum, next) => b.op("Add", [sum, next]))]);
      return node.inputs.map((name, i) =>
        wanted[i] ? reduceTo(b, b.op("Mul", [share, won[i]]), b.dims(name)) : undefined
      );
    },
  };
}

export const ARITHMETIC_RULES: readonly OpRule[] = [
  arithmetic("Add", () => (x, y) => x + y, plus, (_b, _node, ct, wanted) => [
    wanted[0] ? ct : undefined,
    wanted[1] ? ct : undefined,
  ]),
  arithmetic("Sub", () => (x, y) => x - y, minus, (b, _node, ct, wanted) => [
    wanted[0] ? ct : undefined,
    wanted[1] ? b.op("Neg", [ct]) : undefined,
  ]),
  arithmetic("Mul", () => (x, y) => x * y, times, (b, node, ct, wanted) => [
    wanted[0] ? b.op("Mul", [ct, node.inputs[1]]) : undefined,
    wanted[1] ? b.op("Mul", [ct, node.inputs[0]]) : undefined,
  ]),
  // d(x/y) = dx/y - (x/y)·dy/y
  arithmetic("Div", divide, over, (b, node, ct, wanted) => {
    const dx = b.op("Div", [ct, node.inputs[1]]);
    return [
      wanted[0] ? dx : undefined,
      wanted[1] ? b.op("Neg", [b.op("Mul", [dx, node.outputs[0]])]) : undefined,
    ];
  }),
  Pow,
  Mod,
  variadicSum("Sum", false),
  variadicSum("Mean", true),
  extreme("Min", Math.min, isAtMost),
  extreme("Max", Math.max, (x, y) => isAtMost(y, x)),
];
