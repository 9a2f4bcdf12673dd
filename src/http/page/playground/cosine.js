/** How alike two vectors are. */

/**
 * The cosine of the angle between two vectors of the same length.
 *
 * @param {readonly number[]} a
 * @param {readonly number[]} b
 * @returns {number} -1 to 1; 0 if one of them is zero
 */
export function cosine(a, b) {
  let [product, squaresA, squaresB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i] * b[i];
    squaresA += a[i] ** 2;
    squaresB += b[i] ** 2;
  }
  const lengths = Math.sqrt(squaresA * squaresB);
  return lengths === 0 ? 0 : product / lengths;
}
