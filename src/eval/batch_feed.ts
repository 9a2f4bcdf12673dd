/** What a run of a user's graph is fed. */
import { byteLength } from "../graph/dtype.ts";
import type { Tensor } from "../graph/tensor.ts";
import { type TokenBatch, tokenInput } from "../data/targets.ts";
import { type BoundInput, unknownInput } from "../plan/inputs.ts";

/**
 * The value of a model's input: what the batch has for it, or an empty cache.
 *
 * @throws {BadInputError} for an input that is neither
 */
export function batchFeed(name: string, { dtype, dims }: BoundInput, batch: TokenBatch): Tensor {
  const given = tokenInput(name, batch, dtype);
  if (given !== undefined) return given;
  if (!dims.includes(0)) throw unknownInput(name);
  return { dtype, dims, bytes: new Uint8Array(byteLength(dtype, 0)) };
}
