/** Groups of parameters whose gradients are summed over all ranks in one operation. */
import { elementCount } from "../graph/tensor.ts";
import type { Parameter } from "../train/step.ts";

/** Bytes from which on a group is sent: what a wire of 1 Gbit/s takes some milliseconds for. */
const BUCKET_BYTES = 2 ** 18;

/** A parameter's place in a bucket. */
export interface BucketPlace {
  readonly parameter: Parameter;
  /** Its first element in the bucket. */
  readonly start: number;
  readonly size: number;
}

/** Parameters whose gradients travel together. */
export interface Bucket {
  readonly places: readonly BucketPlace[];
  readonly size: number;
}

/**
 * The same buckets in the same order for the same parameters, so that all ranks agree whatever they compute:
 * from the last parameter to the first, as a backward pass completes their gradients.
 *
 * @param bytes least size of each bucket but the last
 */
export function bucketsOf(
  parameters: readonly Parameter[],
  bytes: number = BUCKET_BYTES,
): readonly Bucket[] {
  const buckets: { places: BucketPlace[]; size: number }[] = [];
  for (const parameter of parameters.toReversed()) {
    let bucket = buckets.at(-1);
    if (bucket === undefined || Float32Array.BYTES_PER_ELEMENT * bucket.size >= bytes) {
      buckets.push(bucket = { places: [], size: 0 });
    }
    const size = elementCount(parameter.dims);
    bucket.places.push({ parameter, start: bucket.size, size });
    bucket.size += size;
  }
  return buckets;
}
