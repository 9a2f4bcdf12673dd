/** Conv and ConvTranspose over any number of spatial axes. */
import {
  int,
  intAttribute,
  ints,
  intsAttribute,
  string,
  stringAttribute,
} from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { label, required } from "./args.ts";
import { range } from "./axes.ts";
import { sum } from "./broadcast.ts";
import { sliceAxis } from "./slice.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** How a kernel moves over the spatial axes; one entry per axis. */
export interface Geometry {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Padding before and after. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Elements that a dilated kernel spans. */
export const span = (g: Geometry, axis: number) => (g.kernel[axis] - 1) * g.dilations[axis] + 1;

/** A node's geometry, with `auto_pad` resolved for the given spatial dimensions. */
export function geometryOf(
  node: Node,
  spatial: readonly number[],
  kernel: readonly number[],
): Geometry {
  const ones = kernel.map(() => 1);
  const strides = intsAttribute(node, "strides", ones);
  const dilations = intsAttribute(node, "dilations", ones);
  const pads = intsAttribute(node, "pads", [...kernel, ...kernel].map(() => 0));
  const mode = stringAttribute(node, "auto_pad", "NOTSET");
  const half = kernel.length;
  const explicit = {
    kernel,
    strides,
    dilations,
    before: pads.slice(0, half),
    after: pads.slice(half),
  };
  if (mode === "NOTSET") return explicit;
  if (mode === "VALID") return { ...explicit, before: ones.map(() => 0), after: ones.map(() => 0) };
  // SAME_UPPER and SAME_LOWER: as many outputs as strides fit, an odd padding at the named end.
  const total = spatial.map((dim, axis) =>
    Math.max(0, (Math.ceil(dim / strides[axis]) - 1) * strides[axis] + span(explicit, axis) - dim)
  );
  const small = total.map((n) => Math.floor(n / 2));
  const large = total.map((n) => Math.ceil(n / 2));
  return mode === "SAME_LOWER"
    ? { ...explicit, before: large, after: small }
    : { ...explicit, before: small, after: large };
}

/** Number of positions that the kernel takes along each axis, and the elements left over at the end. */
export function positions(node: Node, spatial: readonly number[], g: Geometry) {
  const slack = spatial.map((dim, axis) => dim + g.before[axis] + g.after[axis] - span(g, axis));
  if (slack.some((n) => n < 0)) {
    throw new RangeError(`${label(node)}: kernel [${g.kernel}] is larger than [${spatial}]`);
  }
  return {
    count: slack.map((n, axis) => Math.floor(n / g.strides[axis]) + 1),
    left: slack.map((n, axis) => n % g.strides[axis]),
  };
}

/** The geometry as attributes of a node. */
export function geometryAttributes(g: Geometry, group: number) {
  return {
    kernel_shape: ints(g.kernel),
    strides: ints(g.strides),
    dilations: ints(g.dilations),
    pads: ints([...g.before, ...g.after]),
    group: int(group),
  };
}

const groupOf = (node: Node) => intAttribute(node, "group", 1);

/** Swaps the first two axes. */
function swap(b: GraphBuilder, value: string): string {
  const axes = range(b.dims(value).length);
  return b.op("Transpose", [value], { perm: ints([1, 0, ...axes.slice(2)]) });
}

/**
 * dW[m, c, k] = Σ x[n, c, …]·dy[n, m, …]: a convolution in which batch and channels are exchanged. Its
 * channels are the sequences of each group in turn, so that groups stay separate.
 */
function weightCotangent(
  b: GraphBuilder,
  x: string,
  ct: string,
  g: Geometry,
  group: number,
): string {
  const [count, channels, ...spatial] = b.dims(x);
  const kernel = b.dims(ct).slice(2);
  const swapped = { ...g, kernel, strides: g.dilations, dilations: g.strides };
  const inGroups = b.reshape(x, [count, group, channels / group, ...spatial]);
  const axes = range(spatial.length).map((axis) => axis + 3);
  const images = b.reshape(
    b.op("Transpose", [inGroups], { perm: ints([2, 1, 0, ...axes]) }),
    [channels / group, group * count, ...spatial],
  );
  const full = b.op("Conv", [images, swap(b, ct)], geometryAttributes(swapped, group));
  const cut = g.kernel.reduce((value, size, axis) => sliceAxis(b, value, axis + 2, 0, size), full);
  return swap(b, cut);
}

/** Attributes that define how a window moves. */
export const KERNEL = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/** The cotangent of one bias per channel. */
function biasCotangent(b: GraphBuilder, bias: string, ct: string): string {
  const axes = range(b.dims(ct).length).filter((axis) => axis !== 1);
  return b.reshape(sum(b, ct, axes), b.dims(bias));
}

export const Conv: OpRule = {
  opType: "Conv",
  domain: "",
  since: 7,
  attributes: KERNEL,
  inputs: "2..3",
  outputs: "1",
  traits: mixed("convolution"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const w = required(node, inputs, 1);
    const spatial = x.dims.slice(2);
    if (w.dims[1] * groupOf(node) !== x.dims[1]) {
      throw new RangeError(
        `${label(node)}: weight [${w.dims}] in ${groupOf(node)} groups does not fit [${x.dims}]`,
      );
    }
    const { count } = positions(node, spatial, geometryOf(node, spatial, w.dims.slice(2)));
    return [{ dtype: x.dtype, dims: [x.dims[0], w.dims[0], ...count] }];
  },
  vjp(b, node, [ct], wanted) {
    const [x, w, bias] = node.inputs;
    const spatial = b.dims(x).slice(2);
    const g = geometryOf(node, spatial, b.dims(w).slice(2));
    const group = groupOf(node);
    const dx = () =>
      b.op("ConvTranspose", [ct!, w], {
        ...geometryAttributes(g, group),
        output_padding: ints(positions(node, spatial, g).left),
      });
    return [
      wanted[0] ? dx() : undefined,
      wanted[1] ? weightCotangent(b, x, ct!, g, group) : undefined,
      wanted[2] ? biasCotangent(b, bias, ct!) : undefined,
    ];
  },
};

/** A transposed convolution's geometry, with padding resolved, and its output's spatial dimensions. */
function transposedGeometry(
  node: Node,
  spatial: readonly number[],
  kernel: readonly number[],
): { readonly g: Geometry; readonly out: readonly number[] } {
  const mode = stringAttribute(node, "auto_pad", "NOTSET");
  const g = geometryOf(
    { ...node, attributes: { ...node.attributes, auto_pad: NOTSET } },
    [],
    kernel,
  );
  const extra = intsAttribute(node, "output_padding", kernel.map(() => 0));
  const whole = spatial.map((dim, axis) =>
    g.strides[axis] * (dim - 1) + extra[axis] + span(g, axis)
  );
  // Some exporters include batch and channels.
  const given = intsAttribute(node, "output_shape", undefined)?.slice(-kernel.length);
  if (given === undefined && !mode.startsWith("SAME")) {
    const [before, after] = mode === "VALID"
      ? [kernel.map(() => 0), kernel.map(() => 0)]
      : [g.before, g.after];
    return {
      g: { ...g, before, after },
      out: whole.map((dim, axis) => dim - before[axis] - after[axis]),
    };
  }
  const out = given ?? spatial.map((dim, axis) => dim * g.strides[axis]);
  const total = whole.map((dim, axis) => Math.max(0, dim - out[axis]));
  const small = total.map((n) => Math.floor(n / 2));
  const large = total.map((n) => Math.ceil(n / 2));
  const [before, after] = mode === "SAME_UPPER" ? [small, large] : [large, small];
  return { g: { ...g, before, after }, out };
}

const NOTSET = string("NOTSET");

export const ConvTranspose: OpRule = {
  opType: "ConvTranspose",
  domain: "",
  since: 7,
  attributes: [...KERNEL, "output_padding", "output_shape"],
  inputs: "2..3",
  outputs: "1",
  traits: mixed("convolution"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const w = required(node, inputs, 1);
    const group = groupOf(node);
    if (w.dims[0] !== x.dims[1] || x.dims[1] % group !== 0) {
      throw new RangeError(
        `${label(node)}: weight [${w.dims}] in ${group} groups does not fit [${x.dims}]`,
      );
    }
    const spatial = x.dims.slice(2);
    const { g, out } = transposedGeometry(node, spatial, w.dims.slice(2));
    if (out.some((dim) => dim < 1)) {
      throw new RangeError(`${label(node)}: padding leaves nothing of [${x.dims}]: [${out}]`);
    }
    // ONNX Runtime refuses it too: the convolution of the backward pass would have more positions.
    if (positions(node, out, g).count.some((n, axis) => n !== spatial[axis])) {
      throw new RangeError(
        `${label(node)}: its output padding must be less than a stride [${g.strides}]`,
      );
    }
    return [{ dtype: x.dtype, dims: [x.dims[0], w.dims[1] * group, ...out] }];
  },
  /** The operator is the transpose of a convolution of its output, which gives the cotangents. */
  vjp(b, node, [ct], wanted) {
    const [x, w, bias] = node.inputs;
    const group = groupOf(node);
    const { g } = transposedGeometry(node, b.dims(x).slice(2), b.dims(w).slice(2));
    const dx = () => b.op("Conv", [ct!, w], geometryAttributes(g, group));
    return [
      wanted[0] ? dx() : undefined,
      wanted[1] ? weightCotangent(b, ct!, x, g, group) : undefined,
      wanted[2] ? biasCotangent(b, bias, ct!) : undefined,
    ];
  },
};
