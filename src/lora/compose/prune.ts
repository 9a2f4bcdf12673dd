/** Pruning of tensors before they are combined. */
import type { RandomSource } from "../init.ts";

/** Keeps the ⌊density·n⌋ elements of largest magnitude (TIES: Yadav et al., arXiv 2306.01708). */
export function prunedByMagnitude(values: Float64Array, density: number): Float64Array {
  if (density >= 1) return values;
  const count = Math.floor(density * values.length);
  const out = new Float64Array(values.length);
  if (count === 0) return out;
  const least = values.map(Math.abs).sort()[values.length - count];
  let above = 0;
  for (const value of values) if (Math.abs(value) > least) above++;
  // Of equal magnitudes at the threshold the first are kept.
  let equals = count - above;
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]);
    if (magnitude > least || (magnitude === least && equals-- > 0)) out[i] = values[i];
  }
  return out;
}

/**
 * Drops each element with probability 1 − density and divides the others by the density, so that the
 * expected value stays (DARE: Yu et al., arXiv 2311.03099).
 */
export function prunedAtRandom(
  values: Float64Array,
  density: number,
  random: RandomSource,
): Float64Array {
  if (density >= 1) return values;
  return values.map((value) => random.next() / 2 ** 32 < density ? value / density : 0);
}
