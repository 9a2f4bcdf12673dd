/** Finds repetitions in a sequence, such as the nodes of a model of equal blocks. */

/** A range in which every label equals the one `period` positions later. */
export interface Repeat {
  readonly start: number;
  readonly period: number;
  /** Number of labels in the range; at least `count` periods. */
  readonly length: number;
}

/** Positions at which a repetition is searched, as shares of the sequence: one is within most blocks. */
const ANCHORS = [1 / 4, 1 / 2, 3 / 4];

/**
 * The longest range that repeats one piece at least `count` times, with the shortest piece if several
 * are equally long; `undefined` if there is none.
 */
export function longestRepeat(labels: readonly string[], count: number): Repeat | undefined {
  let best: Repeat | undefined;
  for (const share of ANCHORS) {
    const anchor = Math.floor(labels.length * share);
    const repeatAt = repeatsAround(labels, anchor);
    for (let at = anchor + 1; at < labels.length; at++) {
      if (labels[at] !== labels[anchor]) continue;
      const found = repeatAt(at);
      if (found.length < count * found.period) continue;
      if (best === undefined || found.length > best.length) best = found;
    }
  }
  return best;
}

/** Finds ranges around `anchor` whose period is the distance to another position. */
function repeatsAround(labels: readonly string[], anchor: number): (at: number) => Repeat {
  // Compares the labels after the anchor, and reversed those before it, with those of each position.
  const after = prefixLengths(labels.slice(anchor));
  const before = prefixLengths([
    ...labels.slice(0, anchor).reverse(),
    undefined,
    ...labels.toReversed(),
  ]);
  return (at) => {
    const period = at - anchor;
    const start = anchor - before[anchor + 1 + labels.length - at];
    const end = anchor + after[period];
    return { start, period, length: end - start + period };
  };
}

/**
 * For each position of a sequence, the number of labels from there on that equal its first ones (the
 * Z-function), in linear time; direct comparison of a chain of equal nodes takes quadratic time.
 */
function prefixLengths(labels: readonly (string | undefined)[]): Int32Array {
  const lengths = new Int32Array(labels.length);
  // The known range that ends last.
  let [from, to] = [0, 0];
  for (let at = 1; at < labels.length; at++) {
    let length = at < to ? Math.min(to - at, lengths[at - from]) : 0;
    while (at + length < labels.length && labels[length] === labels[at + length]) length++;
    lengths[at] = length;
    if (at + length > to) [from, to] = [at, at + length];
  }
  return lengths;
}
