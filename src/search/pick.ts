/** Which of several measured candidates to take, and which to train further. */
import { mean } from "../statistics.ts";
import type { Measured } from "./candidate.ts";
import { isBetter } from "./paired_difference.ts";

/** Candidates with this many times the fewest parameters cost as much. */
const ALIKE = 1.1;

/** Best mean first. */
export function ranked<M extends Measured>(field: readonly M[]): readonly M[] {
  return field.toSorted((a, b) => mean(b.scores) - mean(a.scores));
}

/**
 * The candidate of the fewest parameters among those that no other one is significantly better than; of
 * several with about as few, the best.
 *
 * @throws {RangeError} for none
 */
export function pick<M extends Measured>(field: readonly M[]): M {
  if (field.length === 0) throw new RangeError("Cannot pick one of no candidates");
  const unbeaten = field.filter((one) =>
    !field.some((other) => other !== one && isBetter(other.scores, one.scores))
  );
  const fewest = Math.min(...unbeaten.map(({ candidate }) => candidate.parameters));
  const [best] = ranked(
    unbeaten.filter(({ candidate }) => candidate.parameters <= ALIKE * fewest),
  );
  return best;
}

/** Fewest candidates that go on: a winner has to be compared with something. */
const LEAST = 2;

/**
 * Those that train further: one in `reductionFactor` by their means, and always the one that would be
 * picked now.
 */
export function promoted<M extends Measured>(
  field: readonly M[],
  reductionFactor: number,
): readonly M[] {
  const count = Math.max(LEAST, Math.ceil(field.length / reductionFactor));
  const favourite = pick(field);
  const others = ranked(field).filter((one) => one !== favourite);
  return [favourite, ...others.slice(0, count - 1)];
}
