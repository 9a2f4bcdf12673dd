/**
 * Shapes and shape constants that follow from a batch's sizes, for readers that only know numbers.
 *
 * Such dimensions and tensors are arrays and tensors like any other. Reading a number out of one settles that
 * number ({@linkcode settled}): what is built from it is correct, but serves fewer batches. Asking for
 * extents instead leaves them open.
 */
import type { DataType } from "./dtype.ts";
import { productOf, settled } from "./extent_arithmetic.ts";
import { type BoundSizes, type Extent, type Sizes, sizesOf } from "./size.ts";
import { elementCount, float32, int32, int64, type Tensor, toNumbers } from "./tensor.ts";

const SHAPES = new WeakMap<readonly number[], readonly Extent[]>();
const SIZED = new WeakMap<Tensor, Sizes>();
const ENTRIES = new WeakMap<Tensor, readonly Extent[]>();

const areNumbers = (extents: readonly Extent[]): extents is readonly number[] =>
  extents.every((extent) => typeof extent === "number");

/** Extents as dimensions: reading one settles it, and destructuring settles all up to the last one taken. */
export function asDims(extents: readonly Extent[]): readonly number[] {
  const shape = extentsOf(extents);
  const sizes = sizesOf(shape);
  if (sizes === undefined) return shape as readonly number[];
  // The values of a graph have few different shapes.
  const text = shape.join();
  const found = sizes.shapes.get(text);
  if (found !== undefined) return found;
  const dims = new Array<number>(shape.length);
  shape.forEach((extent, axis) => {
    Object.defineProperty(dims, axis, { enumerable: true, get: () => settled(extent) });
  });
  SHAPES.set(dims, [...shape]);
  sizes.shapes.set(text, dims);
  return dims;
}

/** The extents behind dimensions; the dimensions themselves where all are numbers. */
export function extentsOf(dims: readonly Extent[]): readonly Extent[] {
  return SHAPES.get(dims as readonly number[]) ?? dims;
}

/**
 * A tensor whose bytes follow from extents, and settle them when read.
 *
 * @param name unique to `make`, apart from type, shape and extents
 * @param make returns the bytes for the extents' values, as many as the shape then needs; it lives as long as
 *   plans do, and must not hold on to a builder
 */
export function sizedTensor(
  name: string,
  dtype: DataType,
  shape: readonly Extent[],
  of: readonly Extent[],
  make: (...values: number[]) => Uint8Array,
): Tensor {
  const dims = asDims(shape);
  const bytesOf = () => make(...of.map(settled));
  const sizes = sizesOf(of);
  if (sizes === undefined) return { dtype, dims, bytes: bytesOf() };
  return named(lazyTensor(dtype, dims, sizes, bytesOf), `${name} of ${of.join(", ")}`);
}

const FILLS = new WeakMap<Tensor, Uint8Array>();

/**
 * A tensor whose elements are all the same.
 *
 * @param element bytes of one element
 */
export function filledTensor(
  dtype: DataType,
  shape: readonly Extent[],
  element: Uint8Array,
): Tensor {
  const tensor = sizedTensor(
    `all ${element}`,
    dtype,
    shape,
    [productOf(shape)],
    (count) => repeated(element, count),
  );
  FILLS.set(tensor, element);
  return tensor;
}

/** The bytes of each element of a {@linkcode filledTensor}; `undefined` for any other. */
export function fillOf(tensor: Tensor): Uint8Array | undefined {
  return FILLS.get(tensor);
}

/** Zeros shared by all readers and by batches of all sizes. */
let zeros = new Uint8Array();

function repeated(element: Uint8Array, count: number): Uint8Array {
  const length = element.length * count;
  if (element.every((byte) => byte === 0)) {
    if (zeros.length < length) zeros = new Uint8Array(2 ** Math.ceil(Math.log2(length)));
    return zeros.subarray(0, length);
  }
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += element.length) bytes.set(element, at);
  return bytes;
}

const NAMES = new WeakMap<Tensor, string>();
let unnamed = 0;

/**
 * Names the contents of a tensor that follows from sizes, unless they have a name already.
 *
 * @param name equal only for contents that are the same at every batch, apart from type and shape
 */
export function named(tensor: Tensor, name: string): Tensor {
  if (!NAMES.has(tensor)) {
    const { dtype, dims } = tensor;
    NAMES.set(tensor, `${dtype}[${extentsOf(dims).join(", ")}] ${name}`);
  }
  return tensor;
}

/** Whether the contents of a tensor have a name. */
export function isNamed(tensor: Tensor): boolean {
  return NAMES.has(tensor);
}

/**
 * A name for the contents of a tensor that follows from sizes: equal only for contents that are equal at
 * every batch.
 */
export function sizedName(tensor: Tensor): string {
  return NAMES.get(named(tensor, `unnamed ${++unnamed}`))!;
}

/**
 * A tensor whose bytes are computed from what follows from sizes, once per batch, because several others may
 * be computed from it, and further ones from those.
 *
 * @param compute reads dimensions and tensors that follow from `sizes`
 */
export function lazyTensor(
  dtype: DataType,
  dims: readonly number[],
  sizes: Sizes,
  compute: () => Uint8Array,
): Tensor {
  const tensor: Tensor = {
    dtype,
    dims,
    get bytes() {
      return sizes.once(tensor, compute);
    },
  };
  SIZED.set(tensor, sizes);
  return tensor;
}

/** The sizes that dimensions and constants follow from; `undefined` where they follow from none. */
export function sizesIn(
  dims: readonly number[],
  tensors: readonly (Tensor | undefined)[],
): Sizes | undefined {
  return sizesOf(extentsOf(dims)) ??
    tensors.flatMap((tensor) => (tensor && SIZED.get(tensor)) ?? [])[0];
}

/**
 * Types of tensors whose extents are known one by one: shapes and bounds of ranges are int64, or
 * intermediately, as exporters write them, int32 and float32.
 */
const OF_WHOLES = { int64, int32, float32 } as const;

/** Whether a tensor of a type may hold extents that are known one by one. */
export const holdsWholes = (dtype: DataType): dtype is keyof typeof OF_WHOLES => dtype in OF_WHOLES;

/**
 * A tensor that holds extents in row-major order.
 *
 * @param dims all of them numbers
 */
export function wholesOf(
  dtype: keyof typeof OF_WHOLES,
  dims: readonly number[],
  entries: readonly Extent[],
): Tensor {
  const tensor = sizedTensor(
    "extents",
    dtype,
    dims,
    entries,
    (...values) => OF_WHOLES[dtype](dims, values).bytes,
  );
  if (isSized(tensor)) ENTRIES.set(tensor, entries);
  return tensor;
}

/** A {@linkcode wholesOf} tensor of int64. */
export function int64Of(dims: readonly number[], entries: readonly Extent[]): Tensor {
  return wholesOf("int64", dims, entries);
}

/**
 * A tensor that follows from extents, under other dimensions; `undefined` for any other tensor.
 *
 * @throws {RangeError} if the dimensions have another number of elements, as far as both are known
 */
export function sizedView(tensor: Tensor, dims: readonly number[]): Tensor | undefined {
  const [entries, sizes] = [ENTRIES.get(tensor), SIZED.get(tensor)];
  if (sizes === undefined) return undefined;
  const [own, wanted] = [tensor.dims, dims].map(extentsOf);
  if (areNumbers(own) && areNumbers(wanted)) {
    const [count, needed] = [own, wanted].map(elementCount);
    if (count !== needed) {
      throw new RangeError(
        `Cannot make a ${tensor.dtype}[${dims}] tensor: it needs ${needed} elements: ` +
          `current value is ${count}`,
      );
    }
  }
  if (entries !== undefined && holdsWholes(tensor.dtype)) {
    return wholesOf(tensor.dtype, dims, entries);
  }
  const view = lazyTensor(tensor.dtype, dims, sizes, () => tensor.bytes);
  return named(view, `view of ${sizedName(tensor)}`);
}

/**
 * A tensor of the same type and dimensions as another, computed from it: anew at each batch where that one
 * follows from sizes.
 *
 * @param name unique to `compute`
 */
export function mapped(
  tensor: Tensor,
  name: string,
  compute: (tensor: Tensor) => Uint8Array,
): Tensor {
  const { dtype, dims } = tensor;
  const sizes = SIZED.get(tensor);
  if (sizes === undefined) return { dtype, dims, bytes: compute(tensor) };
  const lazy = lazyTensor(dtype, dims, sizes, () => compute(tensor));
  return named(lazy, `${name} ${sizedName(tensor)}`);
}

/** A tensor bound to a batch; the tensor itself where it follows from no extents. */
export function tensorAt(tensor: Tensor, bound: BoundSizes): Tensor {
  const sizes = SIZED.get(tensor) ?? sizesOf(extentsOf(tensor.dims));
  if (sizes === undefined) return tensor;
  const { dtype, dims } = tensor;
  return sizes.under(() => ({ dtype, dims: [...dims], bytes: tensor.bytes }), bound);
}

/** Larger tensors are not shapes, and their contents are not read. */
const MOST_ENTRIES = 64;

/** The whole numbers that a small tensor holds, in row-major order; `undefined` for any other tensor. */
export function entriesOf(tensor: Tensor): readonly Extent[] | undefined {
  const found = ENTRIES.get(tensor);
  if (found !== undefined) return found;
  const { dtype, dims } = tensor;
  if (!holdsWholes(dtype) || SIZED.has(tensor) || !areNumbers(extentsOf(dims))) return undefined;
  if (dims.reduce((count, dim) => count * dim, 1) > MOST_ENTRIES) return undefined;
  const numbers = Array.from(toNumbers(tensor), Number);
  return numbers.every(Number.isSafeInteger) ? numbers : undefined;
}

/** Whether the contents of a tensor follow from a batch's sizes. */
export function isSized(tensor: Tensor): boolean {
  return SIZED.has(tensor);
}

/** Whether a tensor comes from {@linkcode wholesOf} and has an entry that is not a number. */
export function holdsExtents(tensor: Tensor): boolean {
  return ENTRIES.has(tensor);
}
