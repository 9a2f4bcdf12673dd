/** Gram matrices, which have the squared singular values of a matrix as eigenvalues. */
import type { Matrix } from "./matrix.ts";

/**
 * M·Mᵀ, row-major [rows, rows], of a matrix of singles or doubles [rows, cols]; both triangles are
 * filled. Sums are doubles.
 */
export function gramOf(
  { rows, cols, values }: Omit<Matrix, "values"> & { readonly values: Float64Array | Float32Array },
): Float64Array {
  const out = new Float64Array(rows * rows);
  // Two rows against two: each value that is read from memory counts twice.
  for (let i = 0; i < rows; i += 2) {
    const i1 = Math.min(i + 1, rows - 1);
    for (let j = 0; j <= i; j += 2) {
      const j1 = Math.min(j + 1, rows - 1);
      const [a, b, c, d] = [i * cols, i1 * cols, j * cols, j1 * cols];
      let [ac, ad, bc, bd] = [0, 0, 0, 0];
      for (let k = 0; k < cols; k++) {
        const [x, y, z, w] = [values[a + k], values[b + k], values[c + k], values[d + k]];
        ac += x * z;
        ad += x * w;
        bc += y * z;
        bd += y * w;
      }
      out[i * rows + j] = out[j * rows + i] = ac;
      out[i * rows + j1] = out[j1 * rows + i] = ad;
      out[i1 * rows + j] = out[j * rows + i1] = bc;
      out[i1 * rows + j1] = out[j1 * rows + i1] = bd;
    }
  }
  return out;
}
