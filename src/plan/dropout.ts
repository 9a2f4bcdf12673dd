/**
 * Dropout masks made inside the graph from a seed, so that a backward call that recomputes its
 * segment sees the same mask as the forward call, and only the seed crosses to the runtime.
 *
 * Row i and column j of a mask get the number u_i · v_j mod p, where u and v are hashed from the
 * seed; the entry is kept where that number lies under the threshold. One product and one
 * remainder per entry, and any two columns are independent unless their v have a trivial ratio.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import { int64, type Tensor } from "../graph/tensor.ts";

/** Graph input, int64 []: the seed of a micro-step's masks. */
export const DROPOUT_SEED = "dropout_seed";
/** A graph input of an injected model that stands for a mask ends so. */
export const MASK_SUFFIX = ".dropout_mask";

/** Name of the initializer that tells a mask from others, by that of the mask. */
export const saltName = (mask: string) => `${mask}.salt`;

/** An initializer that tells one module's masks from another's ends so. */
export const SALT_SUFFIX = saltName(MASK_SUFFIX);

/** The Mersenne prime 2^31 - 1: products of two residues stay below 2^62. */
const PRIME = 2147483647;

/**
 * Number that tells one module's masks from another's: FNV-1a of the mask's name, 24 bits.
 *
 * @param salt {@linkcode saltName} of the mask
 */
export function saltOf(salt: string): Tensor {
  const name = salt.slice(0, -saltName("").length);
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  }
  return int64([], [hash >>> 8]);
}

/**
 * Emits a mask of the given shape: 0 with `probability`, else 1 / (1 - probability).
 *
 * @param salt name of an int64 scalar that differs from module to module
 * @returns float32 value of shape `dims`
 */
export function dropoutMask(
  b: GraphBuilder,
  dims: readonly number[],
  probability: number,
  salt: string,
): string {
  const columns = dims[dims.length - 1];
  const rows = dims.slice(0, -1).reduce((count, dim) => count * dim, 1);
  const start = mixed(b, b.op("Add", [mixed(b, DROPOUT_SEED), salt]));
  const u = b.op("Unsqueeze", [hashedRange(b, start, rows), b.int64s([1])]);
  const v = hashedRange(b, mixed(b, start), columns);
  const numbers = modulo(b, b.op("Mul", [u, v]));
  const threshold = b.constant(int64([], [Math.round((1 - probability) * PRIME)]));
  const kept = b.op("Less", [numbers, threshold]);
  const mask = b.op("Where", [kept, b.scalar(1 / (1 - probability)), b.scalar(0)]);
  return b.reshape(mask, dims);
}

function modulo(b: GraphBuilder, value: string): string {
  return b.op("Mod", [value, b.constant(int64([], [PRIME]))]);
}

/** One round of mixing: x → ((a·x + c)² + x·d) mod p, all products below 2^63. */
function mixed(b: GraphBuilder, value: string): string {
  const constant = (n: number) => b.constant(int64([], [n]));
  const reduced = modulo(b, value);
  const line = modulo(
    b,
    b.op("Add", [b.op("Mul", [reduced, constant(1103515245)]), constant(12345)]),
  );
  const square = modulo(b, b.op("Mul", [line, line]));
  return modulo(b, b.op("Add", [square, b.op("Mul", [reduced, constant(48271)])]));
}

/** `count` hashed residues from a starting number, none of them 0. */
function hashedRange(b: GraphBuilder, start: string, count: number): string {
  const index = b.constant(int64([count], Array.from({ length: count }, (_, i) => i)), "range");
  const twice = mixed(b, mixed(b, b.op("Add", [index, start])));
  return b.op("Max", [twice, b.constant(int64([], [1]))]);
}
