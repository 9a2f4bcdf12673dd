/** Values of quantised codes. */
import type { Scratch } from "./scratch.ts";
import type { CodeGrid, CodeSlab, StoredMatrix } from "./types.ts";

/**
 * Values of a slab's rows, row-major [slab.rows, slab.cols]: float32(scale·(code − zero)).
 *
 * @param out receives them
 */
export function dequantizeSlab(
  grid: CodeGrid,
  slab: CodeSlab,
  out = new Float32Array(slab.rows * slab.cols),
): Float32Array {
  const { rows, cols, codes, scales, zeros } = slab;
  const colGroups = Math.ceil(cols / grid.groupCols);
  for (let n = 0; n < rows; n++) {
    const groupRow = Math.floor(n / grid.groupRows) * colGroups;
    for (let c = 0; c < colGroups; c++) {
      const scale = scales[groupRow + c];
      const zero = zeros[groupRow + c];
      const to = n * cols + Math.min((c + 1) * grid.groupCols, cols);
      for (let i = n * cols + c * grid.groupCols; i < to; i++) out[i] = scale * (codes[i] - zero);
    }
  }
  return out;
}

/**
 * Rows [from, to) of any stored matrix as float32, row-major.
 *
 * @param scratch holds them until the next call with it
 */
export function readValues(
  matrix: StoredMatrix,
  from: number,
  to: number,
  scratch?: Scratch,
): Float32Array {
  return matrix.kind === "float" ? matrix.read(from, to, scratch).values : dequantizeSlab(
    matrix.grid,
    matrix.read(from, to, scratch),
    scratch?.float32("values", (to - from) * matrix.cols),
  );
}

/**
 * Row ranges that cover a matrix in slabs of about `sizeBytes` of float32, whole groups each, so that
 * one matrix never needs a float copy of itself.
 */
export function* slabs(
  matrix: StoredMatrix,
  sizeBytes = 1 << 20,
): Generator<readonly [from: number, to: number]> {
  const group = matrix.kind === "float" ? 1 : matrix.grid.groupRows;
  const wanted = Math.max(1, Math.floor(sizeBytes / (4 * Math.max(1, matrix.cols))));
  const step = Math.max(1, Math.ceil(wanted / group)) * group;
  for (let from = 0; from < matrix.rows; from += step) {
    yield [from, Math.min(from + step, matrix.rows)];
  }
}
