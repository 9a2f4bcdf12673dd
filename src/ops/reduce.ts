/** Reductions over axes. */
import { int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import type { DataType } from "../graph/dtype.ts";
import {
  asDims,
  entriesOf,
  extentsOf,
  holdsExtents,
  holdsWholes,
  sizedTensor,
  wholesOf,
} from "../graph/extents.ts";
import { productOf } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { knownInputs, required, unsupported } from "./args.ts";
import { axesOf, normalizeAxes, range } from "./axes.ts";
import { expandTo, scalarLike } from "./broadcast.ts";
import { castTo } from "./cast.ts";
import {
  exactNumbers,
  fitting,
  FOLD_LIMIT,
  folded,
  fromNumbers,
  sourceIndices,
  stridesOf,
} from "./fold.ts";
import { rowsBeforeAxes } from "./rows.ts";
import { rowByRow } from "./traits.ts";
import type { OpRule } from "./types.ts";

type Inputs = readonly (Known | undefined)[];

/** The axes reduced over: all if none are given, unless the node says that none means none. */
function reducedAxes(node: Node, inputs: Inputs): readonly number[] {
  const rank = required(node, inputs, 0).dims.length;
  const given = axesOf(node, inputs) ?? [];
  if (given.length > 0) return normalizeAxes(node, given, rank);
  return intAttribute(node, "noop_with_empty_axes", 0) === 1 ? [] : range(rank);
}

/** The output's shape with the reduced axes kept as 1. */
const keptShape = (shape: readonly Extent[], axes: readonly number[]) =>
  shape.map((dim, i) => axes.includes(i) ? 1 : dim);

interface Reduction {
  readonly opType: string;
  /** Combines the elements that are reduced to one. */
  readonly fold?: (values: readonly number[]) => number;
  /** The same for integers that follow from a batch's sizes. */
  readonly extentOf?: (values: readonly Extent[]) => Extent;
  /**
   * Cotangent of x. `y` and `ct` have the reduced axes kept as 1; the result is broadcast to x's shape if it
   * lacks it. `count` elements are reduced to one.
   */
  readonly derivative?: (b: GraphBuilder, x: string, y: string, ct: string, reduced: {
    readonly axes: readonly number[];
    readonly count: Extent;
  }) => string;
}

function foldReduction(
  x: Known,
  axes: readonly number[],
  dims: readonly number[],
  fold: NonNullable<Reduction["fold"]>,
  extentOf: Reduction["extentOf"],
): Known {
  const { dtype, value } = x;
  const entries = value && holdsExtents(value) ? entriesOf(value) : undefined;
  if (extentOf && entries && holdsWholes(dtype) && axes.length === x.dims.length) {
    return { dtype, dims, value: wholesOf(dtype, dims, [extentOf(entries)]) };
  }
  return folded(x.dtype, dims, [x], ([value]) => {
    const numbers = elementCount(x.dims) > FOLD_LIMIT ? undefined : exactNumbers(value);
    if (numbers === undefined) return undefined;
    const strides = stridesOf(x.dims);
    const pick = (keep: boolean) => range(x.dims.length).filter((i) => axes.includes(i) !== keep);
    const [outer, inner] = [pick(true), pick(false)].map((chosen) =>
      sourceIndices(chosen.map((i) => x.dims[i]), chosen.map((i) => strides[i]))
    );
    const reduced = Array.from(outer, (from) => fold(Array.from(inner, (i) => numbers[from + i])));
    return fitting(x.dtype, dims, reduced);
  });
}

function reduction({ opType, fold, extentOf, derivative }: Reduction): OpRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes: ["axes", "keepdims", "noop_with_empty_axes"],
    inputs: "1..2",
    outputs: "1",
    traits: rowByRow("other", rowsBeforeAxes(1), "moderate"),
    infer(node, inputs) {
      const x = required(node, inputs, 0);
      const axes = reducedAxes(node, inputs);
      const shape = extentsOf(x.dims);
      const dims = asDims(
        intAttribute(node, "keepdims", 1) === 1
          ? keptShape(shape, axes)
          : shape.filter((_, i) => !axes.includes(i)),
      );
      return [
        fold === undefined
          ? { dtype: x.dtype, dims }
          : foldReduction(x, axes, dims, fold, extentOf),
      ];
    },
    /** Axes move from the attribute to the input; reducing over no axis at all is the identity. */
    lower(b, node) {
      const x = node.inputs[0];
      const axes = reducedAxes(node, knownInputs(b, node));
      if (axes.length === 0 && b.dims(x).length > 0) {
        if (fold?.([-2]) === -2) return [x];
        throw unsupported(node, "it reduces over no axis");
      }
      const kept = b.op(opType, axes.length === 0 ? [x] : [x, b.int64s(axes)], {
        keepdims: int(1),
      });
      return [
        intAttribute(node, "keepdims", 1) === 1
          ? kept
          : b.reshape(kept, b.shape(x).filter((_, i) => !axes.includes(i))),
      ];
    },
    ...derivative === undefined ? {} : {
      vjp(b, node, [ct]) {
        const [x] = node.inputs;
        const dims = b.shape(x);
        const axes = reducedAxes(node, knownInputs(b, node));
        const kept = keptShape(dims, axes);
        const count = productOf(axes.map((axis) => dims[axis]));
        const dx = derivative(b, x, b.reshape(node.outputs[0], kept), b.reshape(ct!, kept), {
          axes,
          count,
        });
        return [expandTo(b, dx, dims), undefined];
      },
    },
  };
}

const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

/** Equal largest (smallest) elements share the cotangent. */
const shared: Reduction["derivative"] = (b, x, y, ct, { axes }) => {
  const won = castTo(b, b.op("Equal", [x, y]), b.known(x).dtype);
  const winners = axes.length === 0
    ? won
    : b.op("ReduceSum", [won, b.int64s(axes)], { keepdims: int(1) });
  return b.op("Mul", [won, b.op("Div", [ct, winners])]);
};

/** 1 / `count`, as a constant. */
function share(b: GraphBuilder, dtype: DataType, count: Extent): string {
  const bytesOf = (count: number) => fromNumbers(dtype, [], [1 / count]).bytes;
  return b.constant(sizedTensor("one part of", dtype, [], [count], bytesOf), "scalar");
}

const REDUCTIONS: readonly Reduction[] = [
  { opType: "ReduceSum", fold: total, derivative: (_b, _x, _y, ct) => ct },
  {
    opType: "ReduceMean",
    fold: (values) => total(values) / values.length,
    derivative: (b, _x, _y, ct, { count }) => b.op("Mul", [ct, share(b, b.known(ct).dtype, count)]),
  },
  { opType: "ReduceMax", fold: (values) => Math.max(...values), derivative: shared },
  { opType: "ReduceMin", fold: (values) => Math.min(...values), derivative: shared },
  // Shape arithmetic only: counts elements.
  {
    opType: "ReduceProd",
    fold: (values) => values.reduce((p, value) => p * value, 1),
    extentOf: productOf,
  },
  {
    opType: "ReduceL1",
    derivative: (b, x, _y, ct) => b.op("Mul", [b.op("Sign", [x]), ct]),
  },
  {
    // x/‖x‖; 0 where the norm is 0, as PyTorch's subgradient is.
    opType: "ReduceL2",
    derivative(b, x, y, ct) {
      const none = b.op("Equal", [y, scalarLike(b, y, 0)]);
      const share = b.op("Where", [none, scalarLike(b, y, 0), b.op("Div", [ct, y])]);
      return b.op("Mul", [x, share]);
    },
  },
  {
    opType: "ReduceSumSquare",
    derivative: (b, x, _y, ct) => b.op("Mul", [x, b.op("Mul", [ct, scalarLike(b, ct, 2)])]),
  },
  {
    // Softmax of x.
    opType: "ReduceLogSumExp",
    derivative: (b, x, y, ct) => b.op("Mul", [b.op("Exp", [b.op("Sub", [x, y])]), ct]),
  },
];

export const REDUCE_RULES: readonly OpRule[] = REDUCTIONS.map(reduction);
