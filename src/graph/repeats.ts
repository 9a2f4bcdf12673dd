/** Finds where a sequence repeats itself, as the nodes of a model of alike blocks do. */

/** A stretch in which every label equals the one `period` places further on. */
export interface Repeat {
  readonly start: number;
  readonly period: number;
  /** Labels from the first to the last of a repetition; at least `count` periods. */
  readonly length: number;
}

/** Places at which a repetition is looked for, as shares of the sequence: one is within most blocks. */
const ANCHORS = [1 / 4, 1 / 2, 3 / 4];

/**
 * The longest stretch that repeats one piece at least `count` times, of equal ones that of the shortest
 * piece; `undefined` where there is none.
 */
export function longestRepeat(labels: readonly string[], count: number): Repeat | undefined {
  let best: Repeat | undefined;
  for (const share of ANCHORS) {
    const anchor = Math.floor(labels.length * share);
    for (let at = anchor + 1; at < labels.length; at++) {
      if (labels[at] !== labels[anchor]) continue;
      const found = repeatAround(labels, anchor, at - anchor);
      if (found.length < count * found.period) continue;
      if (best === undefined || found.length > best.length) best = found;
    }
  }
  return best;
}

function repeatAround(labels: readonly string[], anchor: number, period: number): Repeat {
  const isEqual = (place: number) => labels[place] === labels[place + period];
  let [start, end] = [anchor, anchor + 1];
  while (start > 0 && isEqual(start - 1)) start--;
  while (end + period < labels.length && isEqual(end)) end++;
  return { start, period, length: end - start + period };
}
