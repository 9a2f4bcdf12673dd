/** The likeliest tokens of a distribution, without sorting all of them. */

/** By how much the least probability falls from one look to the next. */
const CUTOFF_STEP = 16;

/**
 * As many of the likeliest tokens as are enough, or all, sorted. Sorting a whole vocabulary takes longer
 * than a small model's run.
 *
 * @param probabilities the largest is 1
 */
export function mostLikely(
  probabilities: Float64Array,
  enough: (ids: readonly number[]) => boolean,
): number[] {
  for (let least = 1 / CUTOFF_STEP;; least /= CUTOFF_STEP) {
    const ids: number[] = [];
    for (let id = 0; id < probabilities.length; id++) {
      if (probabilities[id] >= least) ids.push(id);
    }
    if (ids.length === probabilities.length || least === 0 || enough(ids)) {
      return ids.sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    }
  }
}
