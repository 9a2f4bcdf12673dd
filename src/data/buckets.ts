/** Lengths to which batches are padded: only a few, because each one needs a compiled graph. */

/** Bucket lengths, ascending; the last is the longest row allowed. */
export type Buckets = readonly number[];

/**
 * Steps of 8 up to 64 tokens, 16 up to 128, 32 up to 256, and so on: from 32 tokens on at most a quarter
 * is padding, which only attention computes, and each doubling of the length adds four shapes.
 *
 * @param maxLength the last bucket, whether or not it is a step
 * @throws {RangeError} unless it is a whole number of at least 1
 */
export function defaultBuckets(maxLength: number): Buckets {
  if (!Number.isInteger(maxLength) || maxLength < 1) {
    throw new RangeError(
      `A longest length must be a whole number >= 1: current value is ${maxLength}`,
    );
  }
  const lengths: number[] = [];
  for (let length = 8; length < maxLength;) {
    lengths.push(length);
    length += stepAt(length, 8, 4);
  }
  return [...lengths, maxLength];
}

/**
 * Distance of sizes near `size` such that each doubling has `parts` of them, at least `least`: fewer
 * sizes need fewer compiled graphs.
 */
export function stepAt(size: number, least: number, parts: number): number {
  return Math.max(least, 2 ** Math.floor(Math.log2(Math.max(1, size))) / parts);
}

/** The smallest bucket that holds a row; the length itself if none does. */
export function bucketFor(buckets: Buckets, length: number): number {
  return buckets.find((bucket) => bucket >= length) ?? length;
}
