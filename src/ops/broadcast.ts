/** Multidirectional broadcasting, and its transpose: summing a cotangent back to a smaller shape. */
import type { DataType } from "../graph/dtype.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { int } from "../graph/attributes.ts";
import { asDims, extentsOf, filledTensor } from "../graph/extents.ts";
import { areEqual, isAtMost, productOf } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { float32 } from "../graph/tensor.ts";
import { fromNumbers } from "./fold.ts";

/** The shape that shapes broadcast to; throws a `RangeError` if they do not fit. */
export function broadcastDims(...all: readonly (readonly Extent[])[]): readonly number[] {
  const shapes = all.map(extentsOf);
  // Usually one of them is what the others broadcast to.
  const whole = shapes.find((shape) => shapes.every((other) => isWithin(other, shape)));
  if (whole !== undefined) return asDims(whole);
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  const out = new Array<Extent>(rank).fill(1);
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const at = rank - shape.length + i;
      if (shape[i] === out[at] || shape[i] === 1) continue;
      if (out[at] === 1) out[at] = shape[i];
      else if (!areEqual(out[at], shape[i])) {
        throw new RangeError(
          `Shapes do not broadcast: ${shapes.map((shape) => `[${shape}]`).join(" and ")}`,
        );
      }
    }
  }
  return asDims(out);
}

/** Whether a shape broadcasts to another, as far as a quick look tells. */
function isWithin(shape: readonly Extent[], whole: readonly Extent[]): boolean {
  const lead = whole.length - shape.length;
  return lead >= 0 && shape.every((dim, i) => dim === 1 || dim === whole[lead + i]);
}

/** Whether two shapes are equal at every batch. */
export function sameDims(a: readonly Extent[], b: readonly Extent[]): boolean {
  if (a === b) return true;
  const [one, other] = [extentsOf(a), extentsOf(b)];
  return one.length === other.length && one.every((extent, i) => extent === other[i]);
}

/**
 * Sums a cotangent over the axes along which a value of shape `dims` was broadcast, so that it has
 * that shape again.
 */
export function reduceTo(b: GraphBuilder, ct: string, dims: readonly Extent[]): string {
  const [from, to] = [b.shape(ct), extentsOf(dims)];
  if (sameDims(from, to)) return ct;
  const lead = from.length - to.length;
  const axes = from.flatMap((dim, i) => dim !== 1 && (i < lead || to[i - lead] === 1) ? [i] : []);
  if (axes.length === 0) return b.reshape(ct, dims);
  return b.reshape(sumOfFew(b, ct, axes) ?? sum(b, ct, axes), dims);
}

/** Most summands that a product with ones sums: several times as fast as ReduceSum along a first axis. */
const FEW = 256;

/**
 * The sum of float32 along the first axes, if these are all of `axes` and sum at most {@linkcode FEW}
 * numbers.
 */
function sumOfFew(b: GraphBuilder, ct: string, axes: readonly number[]): string | undefined {
  const shape = b.shape(ct);
  const behind = Math.max(...axes) + 1;
  const all = productOf(shape.slice(0, behind));
  const summed = productOf(axes.map((axis) => shape[axis]));
  if (b.known(ct).dtype !== "float32" || summed !== all || !isAtMost(all, FEW)) return undefined;
  const ones = filledTensor("float32", [1, all], ONE);
  const rows = b.reshape(ct, [all, productOf(shape.slice(behind))]);
  return b.op("MatMul", [b.constant(ones, "ones"), rows]);
}

const ONE = float32([], [1]).bytes;

/** ReduceSum with the axes kept as dimensions of 1. */
export function sum(b: GraphBuilder, value: string, axes: readonly number[]): string {
  return b.op("ReduceSum", [value, b.int64s(axes)], { keepdims: int(1) });
}

/** ReduceMean with the axes kept as dimensions of 1. */
export function mean(b: GraphBuilder, value: string, axes: readonly number[]): string {
  return b.op("ReduceMean", [value, b.int64s(axes)], { keepdims: int(1) });
}

/** Broadcasts a value to exactly `dims`; the value itself if it has them already. */
export function expandTo(b: GraphBuilder, value: string, dims: readonly Extent[]): string {
  return sameDims(b.dims(value), dims) ? value : b.op("Expand", [value, b.int64s(dims)]);
}

/** A constant scalar of the given element type. */
export function scalarOf(b: GraphBuilder, dtype: DataType, value: number): string {
  return b.constant(fromNumbers(dtype, [], [value]), "scalar");
}

/** A constant scalar of the same element type as `value`. */
export function scalarLike(b: GraphBuilder, value: string, number: number): string {
  return scalarOf(b, b.known(value).dtype, number);
}

/** A tensor of zeros. */
export function zeros(b: GraphBuilder, dtype: DataType, dims: readonly Extent[]): string {
  return expandTo(b, scalarOf(b, dtype, 0), dims);
}
