/** Seeded randomness: permutations and independent streams of one seed. */
import { Random } from "../random.ts";

/** A source of whole numbers in [0, 2³²). */
export interface RandomSource {
  next(): number;
}

/**
 * A generator for one purpose of a run's seed: the same seed and salts give the same numbers, other
 * salts give unrelated ones.
 *
 * @param salts the purpose, such as `("shuffle", epoch)`
 */
export function randomFor(seed: number, ...salts: readonly (string | number)[]): Random {
  return Random.fromSeed(hash53(JSON.stringify([seed, ...salts])));
}

/**
 * A 53-bit hash of text, for grouping and seeding; no protection against chosen collisions.
 *
 * Two 32-bit halves of multiply-xor rounds with the finaliser of MurmurHash3 (A. Appleby, public
 * domain), crossed at the end.
 */
export function hash53(text: string): number {
  let a = 0x9e3779b9;
  let b = 0x85ebca6b;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0xcc9e2d51);
    b = Math.imul(b ^ unit, 0x1b873593);
    a = (a << 13) | (a >>> 19);
    b = (b << 15) | (b >>> 17);
  }
  const high = finalize(a ^ text.length ^ finalize(b));
  const low = finalize(b ^ high);
  return (high >>> 11) * 2 ** 32 + low;
}

function finalize(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Draws a whole number in [0, bound), without the bias of a plain remainder; `bound` is at most 2³². */
function below(random: RandomSource, bound: number): number {
  const limit = 2 ** 32 - 2 ** 32 % bound;
  while (true) {
    const value = random.next();
    if (value < limit) return value % bound;
  }
}

/** Shuffles in place (Fisher and Yates) and returns its argument. */
export function shuffle<T extends { length: number; [index: number]: number }>(
  values: T,
  random: RandomSource,
): T {
  for (let i = values.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    const held = values[i];
    values[i] = values[j];
    values[j] = held;
  }
  return values;
}
