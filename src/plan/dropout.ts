/** Names of what dropout adds to a step: a seed, masks, and the salts that distinguish them. */
import type { Tensor } from "../graph/tensor.ts";
import { saltTensor } from "../ops/internal/dropout_mask.ts";

/** Graph input, int64 []: the seed of a micro-step's masks. */
export const DROPOUT_SEED = "dropout_seed";
/** Suffix of the graph inputs of an injected model that stand for masks. */
export const MASK_SUFFIX = ".dropout_mask";

/** Name of the initializer that distinguishes a mask from others, given the mask's name. */
export const saltName = (mask: string) => `${mask}.salt`;

/** Suffix of the initializers that distinguish one module's masks from another's. */
export const SALT_SUFFIX = saltName(MASK_SUFFIX);

/**
 * The value that distinguishes one module's masks from another's: FNV-1a of the mask's name, 24 bits.
 *
 * @param salt {@linkcode saltName} of the mask
 */
export function saltOf(salt: string): Tensor {
  const name = salt.slice(0, -saltName("").length);
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  }
  return saltTensor(hash >>> 8);
}
