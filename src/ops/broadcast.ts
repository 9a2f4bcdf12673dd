/** Multidirectional broadcasting, and its transpose: summing a cotangent back to a smaller shape. */
import type { DataType } from "../graph/dtype.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { int } from "../graph/attributes.ts";
import { fromNumbers } from "./fold.ts";

/** The shape that shapes broadcast to; throws a `RangeError` where they do not fit. */
export function broadcastDims(...shapes: readonly (readonly number[])[]): readonly number[] {
  const rank = Math.max(0, ...shapes.map((dims) => dims.length));
  const out = new Array<number>(rank).fill(1);
  for (const dims of shapes) {
    for (let i = 0; i < dims.length; i++) {
      const at = rank - dims.length + i;
      if (dims[i] === out[at] || dims[i] === 1) continue;
      if (out[at] !== 1) {
        throw new RangeError(
          `Shapes do not broadcast: ${shapes.map((dims) => `[${dims}]`).join(" and ")}`,
        );
      }
      out[at] = dims[i];
    }
  }
  return out;
}

/** Whether two shapes are equal. */
export function sameDims(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/**
 * Sums a cotangent over the axes along which a value of shape `dims` was broadcast, so that it has
 * that shape again.
 */
export function reduceTo(b: GraphBuilder, ct: string, dims: readonly number[]): string {
  const from = b.dims(ct);
  if (sameDims(from, dims)) return ct;
  const lead = from.length - dims.length;
  const axes = from.flatMap((dim, i) => dim !== 1 && (i < lead || dims[i - lead] === 1) ? [i] : []);
  const summed = axes.length === 0 ? ct : sum(b, ct, axes);
  return b.reshape(summed, dims);
}

/** ReduceSum with the axes kept as dimensions of 1. */
export function sum(b: GraphBuilder, value: string, axes: readonly number[]): string {
  return b.op("ReduceSum", [value, b.int64s(axes)], { keepdims: int(1) });
}

/** ReduceMean with the axes kept as dimensions of 1. */
export function mean(b: GraphBuilder, value: string, axes: readonly number[]): string {
  return b.op("ReduceMean", [value, b.int64s(axes)], { keepdims: int(1) });
}

/** Broadcasts a value to exactly `dims`; the value itself where it has them. */
export function expandTo(b: GraphBuilder, value: string, dims: readonly number[]): string {
  return sameDims(b.dims(value), dims) ? value : b.op("Expand", [value, b.int64s(dims)]);
}

/** A constant scalar of the given element type. */
export function scalarOf(b: GraphBuilder, dtype: DataType, value: number): string {
  return b.constant(fromNumbers(dtype, [], [value]), "scalar");
}

/** A constant scalar of the same element type as `value`'s. */
export function scalarLike(b: GraphBuilder, value: string, number: number): string {
  return scalarOf(b, b.known(value).dtype, number);
}

/** A tensor of zeros. */
export function zeros(b: GraphBuilder, dtype: DataType, dims: readonly number[]): string {
  return expandTo(b, scalarOf(b, dtype, 0), dims);
}
