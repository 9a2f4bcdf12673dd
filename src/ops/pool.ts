/** Pooling: averages and largest values, of windows and of all positions. */
import { int, intAttribute, intsAttribute, string } from "../graph/attributes.ts";
import type { Known } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { label, required, unsupported } from "./args.ts";
import { product, range } from "./axes.ts";
import { mean, zeros } from "./broadcast.ts";
import { type Geometry, geometryAttributes, geometryOf, KERNEL, positions } from "./conv.ts";
import { fromNumbers } from "./fold.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

function geometry(node: Node, spatial: readonly number[]): Geometry {
  const kernel = intsAttribute(node, "kernel_shape", undefined);
  if (kernel === undefined) throw new SyntaxError(`${label(node)} needs attribute "kernel_shape"`);
  const g = geometryOf(node, spatial, kernel);
  const uneven = positions(node, spatial, g).left.some((n) => n !== 0);
  if (uneven && intAttribute(node, "ceil_mode", 0) === 1) {
    throw unsupported(node, `attribute "ceil_mode" = 1 matters for [${spatial}]`);
  }
  return g;
}

function pooledDims(node: Node, x: Known): readonly number[] {
  const spatial = x.dims.slice(2);
  return [...x.dims.slice(0, 2), ...positions(node, spatial, geometry(node, spatial)).count];
}

/** How many elements that are not padding the kernel covers at each position of one axis. */
function covered(g: Geometry, axis: number, dim: number, count: number): number[] {
  return range(count).map((position) =>
    range(g.kernel[axis]).filter((k) => {
      const at = position * g.strides[axis] - g.before[axis] + k * g.dilations[axis];
      return at >= 0 && at < dim;
    }).length
  );
}

const AveragePool: OpRule = {
  opType: "AveragePool",
  domain: "",
  since: 7,
  attributes: [...KERNEL, "ceil_mode", "count_include_pad"],
  remark: "ceil_mode only where it changes nothing",
  traits: { kind: "pooling", rows: "mixed" },
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    return [{ dtype: x.dtype, dims: pooledDims(node, x) }];
  },
  /** A convolution of each channel by itself with equal weights. */
  lower(b, node) {
    const x = b.known(node.inputs[0]);
    const spatial = x.dims.slice(2);
    const channels = x.dims[1];
    const g = geometry(node, spatial);
    const size = product(g.kernel);
    const padded = [...g.before, ...g.after].some((n) => n !== 0);
    const whole = !padded || intAttribute(node, "count_include_pad", 0) === 1;
    const weight = b.constant(fromNumbers(
      x.dtype,
      [channels, 1, ...g.kernel],
      new Array(channels * size).fill(whole ? 1 / size : 1),
    ));
    const pooled = b.op("Conv", [node.inputs[0], weight], geometryAttributes(g, channels));
    if (whole) return [pooled];
    const out = b.dims(pooled).slice(2);
    const counts = out.map((count, axis) => covered(g, axis, spatial[axis], count))
      .reduce((all, next) => all.flatMap((x) => next.map((y) => x * y)), [1]);
    const share = fromNumbers(x.dtype, [1, 1, ...out], counts.map((count) => 1 / count));
    return [b.op("Mul", [pooled, b.constant(share)])];
  },
};

const GlobalAveragePool: OpRule = {
  opType: "GlobalAveragePool",
  domain: "",
  since: 7,
  attributes: [],
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
  remark: "ceil_mode only where it changes nothing; its first output",
  traits: mixed("pooling"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const dims = pooledDims(node, x);
    return [{ dtype: x.dtype, dims }, { dtype: "int64", dims }];
  },
  /** A window's cotangent goes to the first of its largest values, as PyTorch's does. */
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
