/**
 * Folding of small constants.
 *
 * Exporters compute shapes, positions and masks with operators (Shape → Gather → Concat → Reshape). Once
 * batch size and length are known these are constants, and rules compute them here when the graph is built.
 * Elements are moved as bytes, so that 64-bit sentinels such as Slice's "to the end" survive; arithmetic is
 * done only where doubles are exact.
 */
import { concat } from "@std/bytes/concat";
import { bitsOf, type DataType } from "../graph/dtype.ts";
import type { Known } from "../graph/builder.ts";
import {
  entriesOf,
  extentsOf,
  holdsExtents,
  holdsWholes,
  lazyTensor,
  sizesIn,
  wholesOf,
} from "../graph/extents.ts";
import { isAtMost, productOf, settled } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import {
  bool,
  elementCount,
  float32,
  int32,
  int64,
  type Tensor,
  tensor,
  toNumbers,
} from "../graph/tensor.ts";

/** Values of more elements than this are left to the runtime. */
export const FOLD_LIMIT = 4096;

const ARRAYS = {
  float64: Float64Array,
  float16: Float16Array,
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
} as const;

const FOLDED: ReadonlySet<DataType> = new Set<DataType>(
  ["float32", "int64", "int32", "bool", ...Object.keys(ARRAYS) as (keyof typeof ARRAYS)[]],
);

/**
 * A tensor from numbers.
 *
 * @throws {TypeError} for types that graft never folds (bfloat16, 4-bit types, uint64, strings)
 */
export function fromNumbers(
  dtype: DataType,
  dims: readonly number[],
  values: ArrayLike<number>,
): Tensor {
  switch (dtype) {
    case "float32":
      return float32(dims, values);
    case "int64":
      return int64(dims, values);
    case "int32":
      return int32(dims, values);
    case "bool":
      return bool(dims, values);
    default: {
      if (!(dtype in ARRAYS)) throw new TypeError(`Cannot make a ${dtype} tensor from numbers`);
      const view = ARRAYS[dtype as keyof typeof ARRAYS].from(values);
      return tensor(dtype, dims, new Uint8Array(view.buffer as ArrayBuffer));
    }
  }
}

/** Row-major strides, in elements. */
export function stridesOf(dims: readonly number[]): number[] {
  const out = new Array<number>(dims.length);
  for (let i = dims.length - 1, stride = 1; i >= 0; i--) {
    out[i] = stride;
    stride *= dims[i];
  }
  return out;
}

/** Strides with which a tensor of shape `dims` is read as if broadcast to `to`. */
export function broadcastStrides(dims: readonly number[], to: readonly number[]): number[] {
  const own = stridesOf(dims);
  const lead = to.length - dims.length;
  return to.map((_, i) => i < lead || dims[i - lead] === 1 ? 0 : own[i - lead]);
}

/** For each element of a tensor of shape `dims`, in order: offset + Σ index·stride. */
export function sourceIndices(
  dims: readonly number[],
  strides: readonly number[],
  offset = 0,
): Int32Array {
  const out = new Int32Array(elementCount(dims));
  // A dimension that follows from sizes is looked up once, not for each element.
  const counts = [...dims];
  const index = new Array<number>(counts.length).fill(0);
  let at = offset;
  for (let i = 0; i < out.length; i++) {
    out[i] = at;
    for (let axis = counts.length - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++index[axis] < counts[axis]) break;
      at -= strides[axis] * counts[axis];
      index[axis] = 0;
    }
  }
  return out;
}

/** The tensor whose element i is element `source[i]` of `t`, copied bit for bit. */
export function rearranged(t: Tensor, dims: readonly number[], source: ArrayLike<number>): Tensor {
  const size = bitsOf(t.dtype) / 8;
  const { bytes } = t;
  const out = new Uint8Array(source.length * size);
  for (let i = 0; i < source.length; i++) {
    out.set(bytes.subarray(source[i] * size, (source[i] + 1) * size), i * size);
  }
  return tensor(t.dtype, dims, out);
}

/**
 * Facts about an output whose contents `compute` gives if all of `inputs` are constants and the output is
 * small. `compute` may return `undefined` for "leave it to the runtime".
 */
export function folded(
  dtype: DataType,
  dims: readonly number[],
  inputs: readonly (Known | undefined)[],
  compute: (values: readonly Tensor[]) => Tensor | undefined,
): Known {
  const fits = FOLDED.has(dtype) &&
    inputs.every((i) => i === undefined || (i.value !== undefined && FOLDED.has(i.dtype))) &&
    isAtMost(productOf(extentsOf(dims)), FOLD_LIMIT);
  const constants = inputs.flatMap((i) => i?.value ?? []);
  const sizes = fits ? sizesIn(dims, constants) : undefined;
  if (sizes !== undefined) {
    // What `compute` looks at here is looked at again at every batch.
    const isFolded = sizes.under(() => compute(constants)) !== undefined;
    if (!isFolded) return { dtype, dims };
    return {
      dtype,
      dims,
      value: lazyTensor(dtype, dims, sizes, () => compute(constants)!.bytes),
    };
  }
  const value = fits ? compute(constants) : undefined;
  return value === undefined ? { dtype, dims } : { dtype, dims, value };
}

/**
 * Facts about an output whose element i is element `source[i]` of the concatenated operands, copied bit for
 * bit. Extents are preserved.
 *
 * @param others inputs that have to be constants too
 */
export function foldedFrom(
  dtype: DataType,
  dims: readonly number[],
  operands: readonly Known[],
  source: () => ArrayLike<number>,
  others: readonly (Known | undefined)[] = [],
): Known {
  const entries = sizedEntries(operands);
  if (entries !== undefined && others.every((other) => other === undefined || other.value)) {
    const all = entries.flat();
    return ofExtents(dtype, dims, Array.from(source(), (at) => all[at]));
  }
  return folded(dtype, dims, [...operands, ...others], (values) => {
    const parts = values.slice(0, operands.length).map(({ bytes }) => bytes);
    const bytes = parts.length === 1 ? parts[0] : concat(parts);
    return rearranged({ dtype, dims: [], bytes }, dims, source());
  });
}

/** The contents of constants, some of which follow from a batch's sizes; `undefined` for any others. */
function sizedEntries(operands: readonly Known[]): readonly (readonly Extent[])[] | undefined {
  if (!operands.some(({ value }) => value !== undefined && holdsExtents(value))) return undefined;
  const entries = operands.map(({ value }) => value && entriesOf(value));
  return entries.every((some) => some !== undefined) ? entries : undefined;
}

/** A constant that holds extents; they are all plain numbers if its type cannot be that of a shape. */
function ofExtents(dtype: DataType, dims: readonly number[], entries: readonly Extent[]): Known {
  const value = holdsWholes(dtype)
    ? wholesOf(dtype, dims, entries)
    : fromNumbers(dtype, dims, entries.map(settled));
  return { dtype, dims, value };
}

/** Numbers of a tensor, `undefined` if doubles do not hold them exactly. */
export function exactNumbers(t: Tensor): ArrayLike<number> | undefined {
  const numbers = toNumbers(t);
  if (t.dtype !== "int64") return numbers;
  return Array.from(numbers).every(Number.isSafeInteger) ? numbers : undefined;
}

/** A tensor from computed numbers, `undefined` if the type does not hold them. */
export function fitting(
  dtype: DataType,
  dims: readonly number[],
  values: readonly number[],
): Tensor | undefined {
  const whole = dtype !== "bool" && !dtype.startsWith("float");
  if (whole && !values.every(Number.isSafeInteger)) return undefined;
  return fromNumbers(dtype, dims, values);
}

/**
 * Facts about an elementwise operator's output, computed with `apply` on broadcast small constants.
 *
 * @param extentOf the same for integers that follow from a batch's sizes; `undefined` if the result is not an
 *   extent
 */
export function foldElementwise(
  dtype: DataType,
  dims: readonly number[],
  inputs: readonly Known[],
  apply: ((...values: number[]) => number) | undefined,
  extentOf?: (...values: Extent[]) => Extent | undefined,
): Known {
  if (apply === undefined) return { dtype, dims };
  const entries = extentOf && sizedEntries(inputs);
  if (entries !== undefined) {
    const sources = inputs.map((x) => sourceIndices(dims, broadcastStrides(x.dims, dims)));
    const out = Array.from(
      { length: elementCount(dims) },
      (_, i) => extentOf!(...entries.map((some, operand) => some[sources[operand][i]])),
    );
    if (out.every((entry) => entry !== undefined)) return ofExtents(dtype, dims, out);
  }
  return folded(dtype, dims, inputs, (values) => {
    const numbers = values.map(exactNumbers);
    const sources = values.map((t) => sourceIndices(dims, broadcastStrides(t.dims, dims)));
    const out = new Array<number>(elementCount(dims));
    for (let i = 0; i < out.length; i++) {
      const operands = new Array<number>(numbers.length);
      for (let j = 0; j < numbers.length; j++) {
        const from = numbers[j];
        if (from === undefined) return undefined;
        operands[j] = from[sources[j][i]];
      }
      out[i] = apply(...operands);
    }
    return fitting(dtype, dims, out);
  });
}
