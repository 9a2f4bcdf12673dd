/** Transposes matrices of any type whose elements are whole bytes. */
import type { Tensor } from "./tensor.ts";

/** Transposes a tensor that is read as [rows, columns], whatever its dimensions, into [columns, rows]. */
export function transposedMatrix(
  { dtype, bytes }: Tensor,
  rows: number,
  columns: number,
): Tensor {
  const size = bytes.byteLength / (rows * columns);
  const result = new Uint8Array(bytes.byteLength);
  for (let n = 0; n < rows; n++) {
    for (let i = 0; i < columns; i++) {
      const from = (n * columns + i) * size;
      result.set(bytes.subarray(from, from + size), (i * rows + n) * size);
    }
  }
  return { dtype, dims: [columns, rows], bytes: result };
}
