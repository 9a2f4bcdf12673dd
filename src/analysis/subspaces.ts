/** Similarity of the subspaces that singular vectors span (Hu et al., arXiv 2106.09685, section 7.2). */
import { type Matrix, transposedProduct } from "../linalg/matrix.ts";

/**
 * φ(i, j) = ‖U₁[:, :i]ᵀ·U₂[:, :j]‖²_F / min(i, j) for all i and j: 1 if the smaller subspace lies in the
 * larger one, 0 if they are orthogonal. Two random subspaces of n dimensions have about max(i, j)/n.
 *
 * @param u1 orthonormal columns [n, p]
 * @param u2 orthonormal columns [n, q]
 * @returns p rows of q values; row i − 1, column j − 1 is φ(i, j)
 */
export function subspaceSimilarity(u1: Matrix, u2: Matrix): readonly (readonly number[])[] {
  const cosines = transposedProduct(u1, u2);
  const sums = new Float64Array(cosines.cols);
  return Array.from({ length: cosines.rows }, (_, i) => {
    let row = 0;
    return Array.from({ length: cosines.cols }, (_, j) => {
      row += cosines.values[i * cosines.cols + j] ** 2;
      sums[j] += row;
      return sums[j] / Math.min(i + 1, j + 1);
    });
  });
}

/** φ of two whole subspaces, the last value of {@linkcode subspaceSimilarity}; `undefined` if one is empty. */
export function overlapOf(similarity: readonly (readonly number[])[]): number | undefined {
  return similarity.at(-1)?.at(-1);
}
