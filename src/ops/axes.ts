/** Axes: negative ones counted from the end, and where operator sets store them. */
import type { Known } from "../graph/builder.ts";
import { intsAttribute } from "../graph/attributes.ts";
import type { Node } from "../graph/types.ts";
import { constantInts, label } from "./args.ts";

/** The axis as a number in [0, rank); throws a `RangeError` outside [-rank, rank). */
export function normalizeAxis(node: Node, axis: number, rank: number): number {
  if (axis < -rank || axis >= rank) {
    throw new RangeError(
      `${label(node)}: axis must be in [${-rank}, ${rank - 1}]: current value is ${axis}`,
    );
  }
  return axis < 0 ? axis + rank : axis;
}

/** Axes as sorted numbers in [0, rank) without repetition. */
export function normalizeAxes(
  node: Node,
  axes: readonly number[],
  rank: number,
): readonly number[] {
  const out = axes.map((axis) => normalizeAxis(node, axis, rank)).sort((x, y) => x - y);
  if (new Set(out).size !== out.length) {
    throw new RangeError(`${label(node)}: axes must not repeat: current value is [${axes}]`);
  }
  return out;
}

/** Axes from the attribute (older operator sets) or from input `index`; `undefined` if in neither. */
export function axesOf(
  node: Node,
  inputs: readonly (Known | undefined)[],
  index = 1,
): readonly number[] | undefined {
  return intsAttribute(node, "axes", undefined) ?? constantInts(node, inputs, index, "axes");
}

/** 0, 1, …, count - 1. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** The product of dimensions `from` to `to` (exclusive). */
export function product(dims: readonly number[], from = 0, to = dims.length): number {
  let out = 1;
  for (let i = from; i < to; i++) out *= dims[i];
  return out;
}
