/**
 * Shapes and shape constants that follow from a batch's sizes, for readers that know of numbers alone.
 *
 * Dimensions and tensors of such are arrays and tensors like any other. Reading a number out of one
 * settles that number ({@linkcode settled}), so that what is built from it is right, if for fewer
 * batches; who asks for extents instead leaves them open.
 */
import { type Extent, settled } from "./size.ts";
import { int64, type Tensor, toNumbers } from "./tensor.ts";

const SHAPES = new WeakMap<readonly number[], readonly Extent[]>();
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
 * An int64 tensor that holds extents in row-major order: to read its bytes settles them.
 *
 * @param dims of numbers
 */
export function int64Of(dims: readonly number[], entries: readonly Extent[]): Tensor {
  if (areNumbers(entries)) return int64(dims, entries);
  const tensor: Tensor = {
    dtype: "int64",
    dims,
    get bytes() {
      return int64(dims, entries.map(settled)).bytes;
    },
  };
  ENTRIES.set(tensor, entries);
  return tensor;
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

/** Whether some of what a tensor holds follows from a batch's sizes. */
export function isSized(tensor: Tensor): boolean {
  return ENTRIES.has(tensor);
}
