/** Pooling: averages and largest values, of windows and of all positions. */
import { int, intAttribute, intsAttribute, string } from "../graph/attributes.ts";
import type { Known } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { label, required } from "./args.ts";
import { product, range } from "./axes.ts";
import { mean, zeros } from "./broadcast.ts";
import { type Geometry, geometryAttributes, geometryOf, KERNEL, positions, span } from "./conv.ts";
import { fromNumbers } from "./fold.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** The windows of a pool: their geometry, and how many there are along each axis. */
interface Windows {
  readonly g: Geometry;
  readonly count: readonly number[];
}

/** With `ceil_mode` a last window may end beyond the padding, if it begins before the end padding does. */
function windowsOf(node: Node, spatial: readonly number[]): Windows {
  const kernel = intsAttribute(node, "kernel_shape", undefined);
  if (kernel === undefined) throw new SyntaxError(`${label(node)} needs attribute "kernel_shape"`);
  const g = geometryOf(node, spatial, kernel);
  const { count, left } = positions(node, spatial, g);
  if (intAttribute(node, "ceil_mode", 0) === 0) return { g, count };
  const beginsInside = (axis: number) =>
    count[axis] * g.strides[axis] < spatial[axis] + g.before[axis];
  return { g, count: count.map((n, axis) => left[axis] > 0 && beginsInside(axis) ? n + 1 : n) };
}

function pooledDims(node: Node, x: Known): readonly number[] {
  return [...x.dims.slice(0, 2), ...windowsOf(node, x.dims.slice(2)).count];
}

/** Number of elements from -`before` to `end` that the kernel covers at each position of one axis. */
function covered(
  { g, count }: Windows,
  axis: number,
  before: number,
  end: number,
): readonly number[] {
  const [kernel, step] = [g.kernel[axis], g.dilations[axis]];
  return range(count[axis]).map((position) => {
    const at = position * g.strides[axis] - g.before[axis];
    const first = Math.max(0, Math.ceil((-before - at) / step));
    return Math.max(0, Math.min(kernel, Math.ceil((end - at) / step)) - first);
  });
}

/** Most elements of a constant that stands for a pool's windows: a few bytes can claim any size. */
const MOST_ELEMENTS = 2 ** 22;

const AveragePool: OpRule = {
  opType: "AveragePool",
  domain: "",
  since: 7,
  attributes: [...KERNEL, "ceil_mode", "count_include_pad"],
  inputs: "1",
  outputs: "1",
  traits: { kind: "pooling", rows: "mixed" },
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    return [{ dtype: x.dtype, dims: pooledDims(node, x) }];
  },
  /** A convolution of each channel by itself with ones, divided by the number of elements in each window. */
  lower(b, node) {
    const x = b.known(node.inputs[0]);
    const spatial = x.dims.slice(2);
    const channels = x.dims[1];
    const windows = windowsOf(node, spatial);
    const { g, count } = windows;
    const size = product(g.kernel);
    if (Math.max(channels * size, product(count)) > MOST_ELEMENTS) {
      throw new RangeError(
        `its windows [${g.kernel}] over [${x.dims}] take more than ${MOST_ELEMENTS} elements`,
      );
    }
    const countsPadding = intAttribute(node, "count_include_pad", 0) === 1;
    const axes = spatial.map((dim, axis) => {
      const [before, after] = countsPadding ? [g.before[axis], g.after[axis]] : [0, 0];
      return covered(windows, axis, before, dim + after);
    });
    const whole = axes.every((counts, axis) => counts.every((n) => n === g.kernel[axis]));
    const weight = b.constant(fromNumbers(
      x.dtype,
      [channels, 1, ...g.kernel],
      new Array(channels * size).fill(whole ? 1 / size : 1),
    ));
    const after = spatial.map((dim, axis) => {
      const end = (count[axis] - 1) * g.strides[axis] + span(g, axis) - g.before[axis];
      return Math.max(g.after[axis], end - dim);
    });
    const attributes = geometryAttributes({ ...g, after }, channels);
    const pooled = b.op("Conv", [node.inputs[0], weight], attributes);
    if (whole) return [pooled];
    const counts = axes.reduce((all, next) => all.flatMap((n) => next.map((m) => n * m)), [1]);
    const share = fromNumbers(x.dtype, [1, 1, ...count], counts.map((n) => 1 / n));
    return [b.op("Mul", [pooled, b.constant(share)])];
  },
};

const GlobalAveragePool: OpRule = {
  opType: "GlobalAveragePool",
  domain: "",
  since: 7,
  attributes: [],
  inputs: "1",
  outputs: "1",
  traits: { kind: "global pooling", rows: "mixed" },
  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    return [{ dtype, dims: dims.map((dim, i) => i < 2 ? dim : 1) }];
  },
  lower: (b, node) => [
    mean(b, node.inputs[0], range(b.dims(node.inputs[0]).length).slice(2)),
  ],
};

const MaxPool: OpRule = {
  opType: "MaxPool",
  domain: "",
  since: 7,
  // The last concerns indices only.
  attributes: [...KERNEL, "ceil_mode", "storage_order"],
  inputs: "1",
  outputs: "1..2",
  remark: "its first output",
  traits: mixed("pooling"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const dims = pooledDims(node, x);
    return [{ dtype: x.dtype, dims }, { dtype: "int64", dims }];
  },
  /** A window's cotangent goes to the first of its largest values, as in PyTorch. */
  vjp(b, node, [ct]) {
    const [x] = node.inputs;
    const { dtype, dims } = b.known(x);
    const { storage_order: _, ...attributes } = node.attributes;
    const [, positions] = b.ops("MaxPool", [x], 2, attributes);
    const windows = [product(b.dims(ct!))];
    const sums = b.op("ScatterElements", [
      zeros(b, dtype, [product(dims)]),
      b.reshape(positions, windows),
      b.reshape(ct!, windows),
    ], { axis: int(0), reduction: string("add") });
    return [b.reshape(sums, dims)];
  },
};

const GlobalMaxPool: OpRule = {
  ...GlobalAveragePool,
  opType: "GlobalMaxPool",
  lower(b, { inputs: [x] }) {
    const axes = b.int64s(range(b.dims(x).length).slice(2));
    return [b.op("ReduceMax", [x, axes])];
  },
};

export const POOL_RULES: readonly OpRule[] = [
  AveragePool,
  GlobalAveragePool,
  GlobalMaxPool,
  MaxPool,
];
