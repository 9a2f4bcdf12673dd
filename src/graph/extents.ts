/**
 * Shapes and shape constants that follow from a batch's sizes, for readers that know of numbers alone.
 *
 * Dimensions and tensors of such are arrays and tensors like any other. Reading a number out of one
 * settles that number ({@linkcode settled}), so that what is built from it is right, if for fewer
 * batches; who asks for extents instead leaves them open.
 */
import type { DataType } from "./dtype.ts";
import { type BoundSizes, type Extent, settled, type Sizes, sizesOf } from "./size.ts";
import { int64, type Tensor, toNumbers } from "./tensor.ts";

const SHAPES = new WeakMap<readonly number[], readonly Extent[]>();
const SIZED = new WeakMap<Tensor, Sizes>();
const ENTRIES = new WeakMap<Tensor, readonly Extent[]>();

const areNumbers = (extents: readonly Extent[]): extents is readonly number[] =>
  extents.every((extent) => typeof extent === "number");

/** Extents as dimensions: to read one settles it, and to destructure them settles all up to the last. */
export function asDims(extents: readonly Extent[]): readonly number[] {
  const shape = extentsOf(extents);
  if (areNumbers(shape)) return shape;
  const dims = new Array<number>(shape.length);
  shape.forEach((extent, axis) => {
    Object.defineProperty(dims, axis, { enumerable: true, get: () => settled(extent) });
  });
  SHAPES.set(dims, shape);
  return dims;
}

/** The extents that dimensions are of: themselves, where all are numbers. */
export function extentsOf(dims: readonly Extent[]): readonly Extent[] {
  return SHAPES.get(dims as readonly number[]) ?? dims;
}

/**
 * A tensor whose bytes follow from extents: to read them settles these.
 *
 * @param name the same for the same `make` alone, as far as type, shape and extents leave it open
 * @param make gives the bytes for the extents' values, as many as the shape has there
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

const NAMES = new WeakMap<Tensor, string>();
let unnamed = 0;

/**
 * Names what a tensor holds that follows from sizes, where that has no name yet.
 *
 * @param name the same for what is the same at every batch alone, as far as type and shape leave it open
 */
export function named(tensor: Tensor, name: string): Tensor {
  if (!NAMES.has(tensor)) {
    const { dtype, dims } = tensor;
    NAMES.set(tensor, `${dtype}[${extentsOf(dims).join(", ")}] ${name}`);
  }
  return tensor;
}

/** Whether what a tensor holds has a name. */
export function isNamed(tensor: Tensor): boolean {
  return NAMES.has(tensor);
}

/** A name for what a tensor holds that follows from sizes: equal only where that is equal at every batch. */
export function sizedName(tensor: Tensor): string {
  return NAMES.get(named(tensor, `unnamed ${++unnamed}`))!;
}

/**
 * A tensor whose bytes are computed from what follows from sizes, at each batch anew.
 *
 * @param compute looks at dimensions and tensors that follow from `sizes`
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
      return compute();
    },
  };
  SIZED.set(tensor, sizes);
  return tensor;
}

/** What dimensions and constants follow from; `undefined` where that is nothing. */
export function sizesIn(
  dims: readonly number[],
  tensors: readonly (Tensor | undefined)[],
): Sizes | undefined {
  return sizesOf(extentsOf(dims)) ??
    tensors.flatMap((tensor) => (tensor && SIZED.get(tensor)) ?? [])[0];
}

/**
 * An int64 tensor that holds extents in row-major order.
 *
 * @param dims of numbers
 */
export function int64Of(dims: readonly number[], entries: readonly Extent[]): Tensor {
  const tensor = sizedTensor(
    "extents",
    "int64",
    dims,
    entries,
    (...values) => int64(dims, values).bytes,
  );
  if (isSized(tensor)) ENTRIES.set(tensor, entries);
  return tensor;
}

/** A tensor that follows from extents under other dimensions; `undefined` for any other. */
export function sizedView(tensor: Tensor, dims: readonly number[]): Tensor | undefined {
  const entries = ENTRIES.get(tensor);
  if (entries !== undefined) return int64Of(dims, entries);
  const sizes = SIZED.get(tensor);
  return sizes &&
    named(
      lazyTensor(tensor.dtype, dims, sizes, () => tensor.bytes),
      `view of ${sizedName(tensor)}`,
    );
}

/** What a tensor holds at a batch: itself, where it follows from no extents. */
export function tensorAt(tensor: Tensor, bound: BoundSizes): Tensor {
  const sizes = SIZED.get(tensor) ?? sizesOf(extentsOf(tensor.dims));
  if (sizes === undefined) return tensor;
  const { dtype, dims } = tensor;
  return sizes.under(() => ({ dtype, dims: [...dims], bytes: tensor.bytes }), bound);
}

/** Larger tensors are no shapes, and their contents are not looked at. */
const MOST_ENTRIES = 64;

/** What a small int64 tensor holds, in row-major order; `undefined` for any other. */
export function entriesOf(tensor: Tensor): readonly Extent[] | undefined {
  const found = ENTRIES.get(tensor);
  if (found !== undefined) return found;
  const { dtype, dims } = tensor;
  if (dtype !== "int64" || !areNumbers(extentsOf(dims))) return undefined;
  if (dims.reduce((count, dim) => count * dim, 1) > MOST_ENTRIES) return undefined;
  const numbers = Array.from(toNumbers(tensor), Number);
  return numbers.every(Number.isSafeInteger) ? numbers : undefined;
}

/** Whether what a tensor holds follows from a batch's sizes. */
export function isSized(tensor: Tensor): boolean {
  return SIZED.has(tensor);
}

/** Whether a tensor is of {@linkcode int64Of}, and some entry of it is no number. */
export function holdsExtents(tensor: Tensor): boolean {
  return ENTRIES.has(tensor);
}
