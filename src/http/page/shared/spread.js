/** Some points of many. */

/**
 * Indices at equal distances, the first and the last among them.
 *
 * @param {number} length
 * @param {number} most
 * @returns {number[]} ascending, all of them where there are no more than `most`
 */
export function spread(length, most) {
  if (length <= most) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: most }, (_, i) => Math.round(i * (length - 1) / (most - 1)));
}
