/** Numbers that choose a mutant: the same for the same seed. */

/** Whole numbers from 0 up to a bound that is left out. */
export type Random = (below: number) => number;

/**
 * A generator (xorshift32) that gives the same numbers for the same seed and number.
 *
 * @param number the mutant's
 */
export function randomOf(number: number, seed = 0): Random {
  let state = Math.imul(number + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b) || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

export const pick = <T>(random: Random, items: readonly T[]): T => items[random(items.length)];
