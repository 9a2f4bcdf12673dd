/** Scales and zero points in the shapes that DequantizeLinear requires. */
import { elementCount, type Tensor, tensor } from "../../graph/tensor.ts";
import { reshaped } from "../../graph/reshaped.ts";

/**
 * A scale or zero point as a scalar or as one value per column.
 *
 * @param value [], [1], [N] or [1, N]
 * @param columns N, or `undefined` for a scalar
 * @returns [columns] or []; `value` itself if it has that shape
 */
export function columnParameters(value: Tensor, columns: number | undefined): Tensor {
  const dims = columns === undefined ? [] : [columns];
  if (value.dims.length === dims.length && (columns === undefined || value.dims[0] === columns)) {
    return value;
  }
  const count = elementCount(value.dims);
  if (count === (columns ?? 1)) return reshaped(value, dims);
  if (count !== 1) {
    throw new RangeError(
      `Quantisation parameters do not fit ${columns} columns: current shape is [${value.dims}]`,
    );
  }
  const size = value.bytes.length;
  const bytes = new Uint8Array(size * columns!);
  for (let i = 0; i < columns!; i++) bytes.set(value.bytes, i * size);
  return tensor(value.dtype, dims, bytes);
}
