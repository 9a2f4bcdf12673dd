/** Slice: a regular part of each axis. */
import { intsAttribute } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { constantInts, knownInputs, label, required, requiredInts } from "./args.ts";
import { normalizeAxis, range } from "./axes.ts";
import { scalarOf, zeros } from "./broadcast.ts";
import { folded, rearranged, sourceIndices, stridesOf } from "./fold.ts";
import { rowsBeforeAxes } from "./rows.ts";
import { rowByRow } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** Elements start, start + step, … (count of them) of one axis. */
interface Span {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** What is taken of each axis, ends and negative positions resolved. */
function spans(node: Node, inputs: readonly (Known | undefined)[]): readonly Span[] {
  const { dims } = required(node, inputs, 0);
  const inAttributes = intsAttribute(node, "starts", undefined);
  const starts = inAttributes ?? requiredInts(node, inputs, 1, "starts");
  const ends = intsAttribute(node, "ends", undefined) ?? requiredInts(node, inputs, 2, "ends");
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
    // Backwards, -1 means "before the first element": the range that positions are held to shifts.
    const [low, high] = step > 0 ? [0, dim] : [-1, dim - 1];
    const hold = (at: number) => Math.min(Math.max(at < 0 ? at + dim : at, low), high);
    const [start, end] = [hold(starts[i]), hold(ends[i])];
    out[axis] = { start, step, count: Math.max(0, Math.ceil((end - start) / step)) };
  });
  return out;
}

/** Slices one axis to [from, to). */
export function sliceAxis(
  b: GraphBuilder,
  value: string,
  axis: number,
  from: number,
  to: number,
): string {
  if (from === 0 && to === b.dims(value)[axis]) return value;
  return b.op("Slice", [value, b.int64s([from]), b.int64s([to]), b.int64s([axis])]);
}

/** Pads with zeros; negative counts cut away. `before` and `after` have one entry an axis. */
export function padZeros(
  b: GraphBuilder,
  value: string,
  before: readonly number[],
  after: readonly number[],
): string {
  if (before.every((n) => n === 0) && after.every((n) => n === 0)) return value;
  const zero = scalarOf(b, b.known(value).dtype, 0);
  return b.op("Pad", [value, b.int64s([...before, ...after]), zero]);
}

/** Puts step - 1 zeros after each element of an axis. */
function interleave(b: GraphBuilder, value: string, axis: number, step: number): string {
  const dims = b.dims(value);
  const split = [...dims.slice(0, axis + 1), 1, ...dims.slice(axis + 1)];
  const after = split.map((_, i) => i === axis + 1 ? step - 1 : 0);
  const padded = padZeros(b, b.reshape(value, split), split.map(() => 0), after);
  return b.reshape(padded, dims.map((dim, i) => i === axis ? dim * step : dim));
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
    const dims = taken.map(({ count }) => count);
    const strides = stridesOf(x.dims);
    return [
      folded(x.dtype, dims, [x], ([value]) => {
        const offset = taken.reduce((sum, { start }, i) => sum + start * strides[i], 0);
        const steps = taken.map(({ step }, i) => step * strides[i]);
        return rearranged(value, dims, sourceIndices(dims, steps, offset));
      }),
    ];
  },
  lower(b, node) {
    const dims = b.dims(node.inputs[0]);
    const taken = spans(node, knownInputs(b, node));
    const whole = taken.every(({ step, count }, i) => step === 1 && count === dims[i]);
    if (whole) return [node.inputs[0]];
    if (node.attributes.starts === undefined) return undefined;
    return [b.op("Slice", [
      node.inputs[0],
      b.int64s(taken.map(({ start }) => start)),
      b.int64s(taken.map(({ start, count }) => start + count)),
      b.int64s(range(dims.length)),
    ])];
  },
  /** Zeros everywhere else: a Pad, after spreading the elements out where steps are not 1. */
  vjp(b, node, [ct]) {
    const dims = b.dims(node.inputs[0]);
    const taken = spans(node, knownInputs(b, node));
    if (taken.some(({ count }) => count === 0)) {
      return [zeros(b, b.known(ct!).dtype, dims), undefined, undefined, undefined, undefined];
    }
    let value = ct!;
    const before = dims.map(() => 0);
    const after = dims.map(() => 0);
    taken.forEach(({ start, step, count }, axis) => {
      const stride = Math.abs(step);
      if (step < 0) value = reverseAxis(b, value, axis);
      if (stride > 1) value = interleave(b, value, axis, stride);
      before[axis] = step < 0 ? start + (count - 1) * step : start;
      after[axis] = dims[axis] - before[axis] - count * stride;
    });
    return [padZeros(b, value, before, after), undefined, undefined, undefined, undefined];
  },
};
