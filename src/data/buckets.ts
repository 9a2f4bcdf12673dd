/** Lengths that batches are padded to: few of them, since each is a graph to compile. */

/** Bucket lengths, ascending; the last is the longest row allowed. */
export type Buckets = readonly number[];

/**
 * Steps of 8 up to 128 tokens, 16 up to 256, 32 up to 512, and so on: from 64 tokens on at most an
 * eighth is padding, and each doubling of the length costs eight shapes.
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
    length += length < 128 ? 8 : 2 ** (Math.floor(Math.log2(length)) - 3);
  }
  return [...lengths, maxLength];
}

/** The smallest bucket that holds a row; the length itself where none does. */
export function bucketFor(buckets: Buckets, length: number): number {
  return buckets.find((bucket) => bucket >= length) ?? length;
}
