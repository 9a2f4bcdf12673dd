/** Formats classes and numbers of answers. */

/** A class with its probability. */
export interface ScoredClass {
  /** Name of the class. */
  readonly label: string;
  /** From 0 to 1. */
  readonly probability: number;
}

/**
 * The most probable classes; equal ones in their original order.
 *
 * @param labels names by id; default: transformers' `LABEL_0` and so on
 */
export function topClasses(
  probabilities: ArrayLike<number>,
  labels: readonly string[] | undefined,
  count: number,
): ScoredClass[] {
  return Array.from(probabilities, (probability, id) => ({
    label: labels?.[id] ?? `LABEL_${id}`,
    probability: shortened(probability),
  })).sort((a, b) => b.probability - a.probability).slice(0, count);
}

/** The shortest decimal, with at least six digits, that rounds to this float32. */
export function shortened(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9)); // nine are always enough
}
