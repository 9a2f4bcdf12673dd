/** Slice: evenly spaced elements of each axis. */
import { intsAttribute } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { isAtMost, minus, plus, settled, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { constantInts, knownInputs, label, required, requiredExtents } from "./args.ts";
import { normalizeAxis, range } from "./axes.ts";
import { scalarOf, zeros } from "./broadcast.ts";
import { foldedFrom, sourceIndices, stridesOf } from "./fold.ts";
import { rowsBeforeAxes } from "./rows.ts";
import { rowByRow } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** Elements start, start + step, … (count of them) of one axis. */
interface Span {
  readonly start: Extent;
  readonly step: number;
  readonly count: Extent;
}

/** The position in [low, high] that is nearest to `at`. */
function held(at: Extent, low: Extent, high: Extent): Extent {
  if (isAtMost(at, low)) return low;
  return isAtMost(high, at) ? high : at;
}

/** Number of positions from start to end, exclusive. */
function countOf(start: Extent, end: Extent, step: number): Extent {
  if (step === 1) return isAtMost(end, start) ? 0 : minus(end, start);
  return Math.max(0, Math.ceil((settled(end) - settled(start)) / step));
}

/** What is taken of each axis, with ends and negative positions resolved. */
function spans(node: Node, inputs: readonly (Known | undefined)[]): readonly Span[] {
  const dims = extentsOf(required(node, inputs, 0).dims);
  const inAttributes = intsAttribute(node, "starts", undefined);
  const starts = inAttributes ?? requiredExtents(node, inputs, 1, "starts");
  const ends = intsAttribute(node, "ends", undefined) ?? requiredExtents(node, inputs, 2, "ends");
  const axes =
    (inAttributes === undefined
      ? constantInts(node, inputs, 3, "axes")
      : intsAttribute(node, "axes", undefined)) ?? range(starts.length);
  const steps = constantInts(node, inputs, 4, "steps") ?? starts.map(() => 1);
  const out: Span[] = dims.map((count) => ({ start: 0, step: 1, count }));
  axes.forEach((given, i) => {
    const axis = normalizeAxis(node, given, dims.length);
    const step = steps[i];
    if (step === 0) throw new RangeError(`${label(node)}: a step must not be 0`);
    const dim = dims[axis];
    // Backwards, -1 means "before the first element": the range that positions are limited to shifts.
    const [low, high] = step > 0 ? [0, dim] : [-1, minus(dim, 1)];
    const hold = (at: Extent) => held(isAtMost(at, -1) ? plus(at, dim) : at, low, high);
    const [start, end] = [hold(starts[i]), hold(ends[i])];
    out[axis] = { start, step, count: countOf(start, end, step) };
  });
  return out;
}

/** Slices one axis to [from, to). */
export function sliceAxis(
  b: GraphBuilder,
  value: string,
  axis: number,
  from: Extent,
  to: Extent,
): string {
  if (from === 0 && to === b.shape(value)[axis]) return value;
  return b.op("Slice", [value, b.int64s([from]), b.int64s([to]), b.int64s([axis])]);
}

/** Pads with zeros; negative counts remove elements. `before` and `after` have one entry per axis. */
export function padZeros(
  b: GraphBuilder,
  value: string,
  before: readonly Extent[],
  after: readonly Extent[],
): string {
  if (before.every((n) => n === 0) && after.every((n) => n === 0)) return value;
  const zero = scalarOf(b, b.known(value).dtype, 0);
  return b.op("Pad", [value, b.int64s([...before, ...after]), zero]);
}

/** Puts step - 1 zeros after each element of an axis. */
function interleave(b: GraphBuilder, value: string, axis: number, step: number): string {
  const dims = b.shape(value);
  const split = [...dims.slice(0, axis + 1), 1, ...dims.slice(axis + 1)];
  const after = split.map((_, i) => i === axis + 1 ? step - 1 : 0);
  const padded = padZeros(b, b.reshape(value, split), split.map(() => 0), after);
  return b.reshape(padded, dims.map((dim, i) => i === axis ? times(dim, step) : dim));
}

function reverseAxis(b: GraphBuilder, value: string, axis: number): string {
  const toTheStart = b.int64s([-(2 ** 31)]);
  return b.op("Slice", [value, b.int64s([-1]), toTheStart, b.int64s([axis]), b.int64s([-1])]);
}

export const Slice: OpRule = {
  opType: "Slice",
  domain: "",
  since: 7,
  attributes: ["axes", "ends", "starts"],
  inputs: "1..5",
  outputs: "1",
  traits: rowByRow("movement", rowsBeforeAxes(3), "cheap"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const taken = spans(node, inputs);
    const dims = asDims(taken.map(({ count }) => count));
    return [
      foldedFrom(x.dtype, dims, [x], () => {
        const strides = stridesOf(x.dims);
        const offset = taken.reduce((sum, { start }, i) => sum + settled(start) * strides[i], 0);
        const steps = taken.map(({ step }, i) => step * strides[i]);
        return sourceIndices(dims, steps, offset);
      }),
    ];
  },
  lower(b, node) {
    const dims = b.shape(node.inputs[0]);
    const taken = spans(node, knownInputs(b, node));
    const whole = taken.every(({ step, count }, i) => step === 1 && count === dims[i]);
    if (whole) return [node.inputs[0]];
    if (node.attributes.starts === undefined) return undefined;
    return [b.op("Slice", [
      node.inputs[0],
      b.int64s(taken.map(({ start }) => start)),
      b.int64s(taken.map(({ start, count }) => plus(start, count))),
      b.int64s(range(dims.length)),
    ])];
  },
  /** Zeros everywhere else: a Pad, after spreading the elements out if steps are not 1. */
  vjp(b, node, [ct]) {
    const dims = b.shape(node.inputs[0]);
    const taken = spans(node, knownInputs(b, node));
    if (taken.some(({ count }) => count === 0)) {
      return [zeros(b, b.known(ct!).dtype, dims), undefined, undefined, undefined, undefined];
    }
    let value = ct!;
    const before: Extent[] = dims.map(() => 0);
    const after: Extent[] = dims.map(() => 0);
    taken.forEach(({ start, step, count }, axis) => {
      const stride = Math.abs(step);
      if (step < 0) value = reverseAxis(b, value, axis);
      if (stride > 1) value = interleave(b, value, axis, stride);
      before[axis] = step < 0 ? plus(start, times(minus(count, 1), step)) : start;
      after[axis] = minus(minus(dims[axis], before[axis]), times(count, stride));
    });
    return [padZeros(b, value, before, after), undefined, undefined, undefined, undefined];
  },
};
