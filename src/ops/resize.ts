/**
 * Resize, and Upsample, as it was called before operator set 10: along one axis after another a product with
 * a constant matrix of weights, or a choice of elements.
 */
import {
  floatAttribute,
  floatsAttribute,
  int,
  intAttribute,
  intsAttribute,
  stringAttribute,
} from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { isFloating } from "../graph/dtype.ts";
import { bool, type Tensor } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { constantInts, knownInputs, label, required, unsupported } from "./args.ts";
import { normalizeAxis, product, range } from "./axes.ts";
import { expandTo, scalarLike } from "./broadcast.ts";
import { fromNumbers } from "./fold.ts";
import { coordinatesOf, nearestOf, type ResizedAxis, type Taps, tapsOf } from "./interpolation.ts";
import type { LoweredRule, OpsetContext } from "./types.ts";

type Inputs = readonly (Known | undefined)[];

const f32 = Math.fround;

/** Numbers of an input that must be a constant; `undefined` if it is absent or empty. */
function numbers(node: Node, inputs: Inputs, index: number, what: string) {
  const found = constantInts(node, inputs, index, what);
  return found?.length === 0 ? undefined : found;
}

/** The axes that `scales`, `sizes` and `roi` refer to. */
function axesOf(node: Node, rank: number, given: readonly number[], what: string) {
  const axes = intsAttribute(node, "axes", undefined)?.map((a) => normalizeAxis(node, a, rank)) ??
    range(rank);
  if (given.length !== axes.length) {
    throw new RangeError(
      `${
        label(node)
      }: ${what} must be one number an axis of [${axes}]: current value is [${given}]`,
    );
  }
  return axes;
}

/** The scale that all axes share so that their sizes keep their ratio. */
function sharedScale(node: Node, scales: readonly number[]): number | undefined {
  const policy = stringAttribute(node, "keep_aspect_ratio_policy", "stretch");
  if (policy === "stretch") return undefined;
  if (policy === "not_larger") return Math.min(...scales);
  if (policy === "not_smaller") return Math.max(...scales);
  throw unsupported(node, `attribute "keep_aspect_ratio_policy" is "${policy}"`);
}

/** Sizes and scales of all axes. */
function sizesOf(node: Node, inputs: Inputs, { opset }: OpsetContext) {
  const { dims } = required(node, inputs, 0);
  const scales = floatsAttribute(node, "scales", undefined) ??
    numbers(node, inputs, opset < 11 ? 1 : 2, "scales");
  const out = dims.map((to) => ({ to, scale: 1 }));
  if (scales !== undefined) {
    axesOf(node, dims.length, scales, "scales").forEach((axis, i) => {
      const scale = f32(scales[i]);
      if (!(scale > 0)) {
        throw new RangeError(`${label(node)}: scales must be > 0: current value is [${scales}]`);
      }
      out[axis] = { to: Math.trunc(f32(scale * dims[axis])), scale };
    });
    return out;
  }
  const sizes = opset < 11 ? undefined : numbers(node, inputs, 3, "sizes");
  if (sizes === undefined) throw new SyntaxError(`${label(node)} needs scales or sizes`);
  const axes = axesOf(node, dims.length, sizes, "sizes");
  const own = axes.map((axis, i) => dims[axis] === 0 ? 1 : f32(sizes[i] / dims[axis]));
  const shared = sharedScale(node, own);
  axes.forEach((axis, i) => {
    out[axis] = shared === undefined
      ? { to: sizes[i], scale: own[i] }
      : { to: Math.floor(f32(shared * dims[axis]) + 0.5), scale: shared };
  });
  return out;
}

/** Before operator set 11 there was one transformation. */
const transformationOf = (node: Node, { opset }: OpsetContext) =>
  opset < 11 ? "asymmetric" : stringAttribute(node, "coordinate_transformation_mode", "half_pixel");

const CROP = "tf_crop_and_resize";

/** Most positions on the axes that are resized, each of which is computed here. */
const MOST_POSITIONS = 2 ** 26;

/** The axes that are resized. An axis of scale 1 stays as it is, and so do all if no size changes. */
function resizedAxes(node: Node, inputs: Inputs, context: OpsetContext): readonly ResizedAxis[] {
  const { dims } = required(node, inputs, 0);
  const sizes = sizesOf(node, inputs, context);
  const bad = sizes.some(({ to }, axis) =>
    !(Number.isSafeInteger(to) && to >= 0) || (to > 0 && dims[axis] === 0)
  );
  const out = sizes.map(({ to }) => to);
  if (bad || product(out.filter((to, axis) => to !== dims[axis])) > MOST_POSITIONS) {
    throw new RangeError(`${label(node)} cannot resize [${dims}] to [${out}]`);
  }
  if (sizes.every(({ to }, axis) => to === dims[axis])) return [];
  const roi = transformationOf(node, context) === CROP
    ? numbers(node, inputs, 1, "roi")
    : undefined;
  const axes = roi && axesOf(node, dims.length, roi.slice(roi.length / 2), "roi");
  return sizes.flatMap(({ to, scale }, axis): ResizedAxis[] => {
    if (scale === 1) return [];
    const at = axes?.indexOf(axis) ?? -1;
    const region = at < 0
      ? [0, 1] as const
      : [f32(roi![at]), f32(roi![at + axes!.length])] as const;
    return [{ axis, from: dims[axis], to, scale, roi: region }];
  });
}

/** How an axis is read: the nearest elements, or a mix of several. */
type Read = { readonly nearest: readonly number[] } | { readonly taps: readonly Taps[] };

function readOf(
  node: Node,
  axis: ResizedAxis,
  coordinates: readonly number[],
  { opset }: OpsetContext,
): Read {
  const mode = stringAttribute(node, "mode", "nearest");
  const antialias = intAttribute(node, "antialias", 0) !== 0;
  if (mode === "nearest") {
    if (antialias) {
      throw unsupported(node, 'attribute "antialias" is for modes "linear" and "cubic"');
    }
    const rounding = opset < 11
      ? "simple"
      : stringAttribute(node, "nearest_mode", "round_prefer_floor");
    const nearest = nearestOf(rounding, coordinates, axis);
    if (nearest === undefined) throw unsupported(node, `attribute "nearest_mode" is "${rounding}"`);
    return { nearest };
  }
  // Upsample first used "bilinear".
  const kernel = mode === "bilinear" ? "linear" : mode;
  if (kernel !== "linear" && kernel !== "cubic") {
    throw unsupported(node, `attribute "mode" is "${mode}"`);
  }
  return {
    taps: tapsOf(kernel, coordinates, axis, {
      antialias,
      excludesOutside: intAttribute(node, "exclude_outside", 0) !== 0,
      coefficient: floatAttribute(node, "cubic_coeff_a", -0.75),
    }),
  };
}

/** Elements of an axis by index; repeated as a whole if the indices come to that. */
function chosen(b: GraphBuilder, value: string, axis: number, indices: readonly number[]): string {
  const dims = b.dims(value);
  const times = indices.length / dims[axis];
  if (Number.isInteger(times) && indices.every((index, i) => index === Math.floor(i / times))) {
    const split = [...dims.slice(0, axis + 1), 1, ...dims.slice(axis + 1)];
    const repeated = expandTo(
      b,
      b.reshape(value, split),
      split.map((dim, i) => i === axis + 1 ? times : dim),
    );
    return b.reshape(repeated, dims.map((dim, i) => i === axis ? dim * times : dim));
  }
  return b.op("Gather", [value, b.int64s(indices)], { axis: int(axis) });
}

/** Weights of a matrix beyond which an axis is read tap by tap: long recordings have such axes. */
const LARGE_MATRIX = 2 ** 22;
/** Most taps for reading tap by tap. */
const FEW_TAPS = 16;
/** Weights of the largest matrix. */
const LARGEST_MATRIX = 2 ** 26;

/** Weighted sums of an axis' elements: a product with the matrix of weights. */
function weighted(b: GraphBuilder, value: string, axis: number, taps: readonly Taps[]): string {
  const { dtype, dims } = b.known(value);
  const [from, to] = [dims[axis], taps.length];
  const out = dims.map((dim, i) => i === axis ? to : dim);
  if (from * to > LARGE_MATRIX) {
    const most = taps.reduce((count, row) => Math.max(count, row.length), 0);
    if (most <= FEW_TAPS) return weightedByTaps(b, value, axis, taps, most);
    if (from * to > LARGEST_MATRIX) {
      throw new RangeError(`An axis of ${from} cannot be resized to ${to}, ${most} weights each`);
    }
  }
  const matrix = new Float64Array(from * to);
  const isLast = axis === dims.length - 1;
  taps.forEach((row, i) => {
    for (const [index, weight] of row) matrix[isLast ? index * to + i : i * from + index] += weight;
  });
  const weights = b.constant(
    fromNumbers(dtype, isLast ? [from, to] : [to, from], matrix),
    "weights",
  );
  if (isLast) return b.op("MatMul", [value, weights]);
  const stack = b.reshape(value, [product(dims, 0, axis), from, product(dims, axis + 1)]);
  return b.reshape(b.op("MatMul", [weights, stack]), out);
}

/** The same tap by tap, of which an element has at most `most`. */
function weightedByTaps(
  b: GraphBuilder,
  value: string,
  axis: number,
  taps: readonly Taps[],
  most: number,
): string {
  const { dtype, dims } = b.known(value);
  const behind = dims.slice(axis + 1).map(() => 1);
  const parts = range(most).map((k) => {
    const indices = taps.map((row) => row[k]?.[0] ?? 0);
    const weights = fromNumbers(
      dtype,
      [taps.length, ...behind],
      taps.map((row) => row[k]?.[1] ?? 0),
    );
    return b.op("Mul", [
      b.op("Gather", [value, b.int64s(indices)], { axis: int(axis) }),
      b.constant(weights, "weights"),
    ]);
  });
  return parts.reduce((sum, part) => b.op("Add", [sum, part]));
}

/** Which elements of the output lie inside on all axes; `undefined` if all do. */
function insideOf(
  rank: number,
  axes: readonly ResizedAxis[],
  coordinates: readonly (readonly number[])[],
): Tensor | undefined {
  const inside = axes.map(({ from }, i) => coordinates[i].map((x) => x >= 0 && x <= from - 1));
  if (inside.every((along) => along.every(Boolean))) return undefined;
  const along = range(rank).map((axis) => {
    const at = axes.findIndex((resized) => resized.axis === axis);
    return at < 0 ? [true] : inside[at];
  });
  const all = along.reduce((flags, next) => flags.flatMap((x) => next.map((y) => x && y)), [true]);
  return bool(along.map((flags) => flags.length), all);
}

function lower(b: GraphBuilder, node: Node, context: OpsetContext): readonly string[] {
  const [x] = node.inputs;
  const { dtype, dims } = b.known(x);
  const axes = resizedAxes(node, knownInputs(b, node), context);
  const transformation = transformationOf(node, context);
  const coordinates = axes.map((axis) => {
    const found = coordinatesOf(transformation, axis);
    if (found !== undefined) return found;
    throw unsupported(node, `attribute "coordinate_transformation_mode" is "${transformation}"`);
  });
  let value = x;
  axes.forEach((resized, i) => {
    const read = readOf(node, resized, coordinates[i], context);
    if ("nearest" in read) value = chosen(b, value, resized.axis, read.nearest);
    else if (isFloating(dtype)) value = weighted(b, value, resized.axis, read.taps);
    else throw unsupported(node, `it interpolates between ${dtype}`);
  });
  const inside = transformation === CROP ? insideOf(dims.length, axes, coordinates) : undefined;
  if (inside === undefined) return [value];
  const outside = scalarLike(b, value, floatAttribute(node, "extrapolation_value", 0));
  return [b.op("Where", [b.constant(inside, "inside"), value, outside])];
}

const Resize: LoweredRule = {
  opType: "Resize",
  domain: "",
  since: 10,
  attributes: [
    "antialias",
    "axes",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "keep_aspect_ratio_policy",
    "mode",
    "nearest_mode",
  ],
  inputs: "1..4",
  outputs: "1",
  remark: "constant sizes, scales and regions",
  traits: { kind: "resampling", rows: "mixed" },
  infer(node, inputs, context) {
    const { dtype } = required(node, inputs, 0);
    const dims = sizesOf(node, inputs, context).map(({ to }) => to);
    return [{ dtype, dims }];
  },
  lower,
};

const Upsample: LoweredRule = {
  ...Resize,
  opType: "Upsample",
  since: 7,
  attributes: ["mode", "scales"],
  inputs: "1..2",
  remark: "until operator set 9; constant scales",
};

export const RESIZE_RULES: readonly LoweredRule[] = [Resize, Upsample];
