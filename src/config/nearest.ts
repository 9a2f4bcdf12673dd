/** "Did you mean": the nearest of the names that exist. */
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/**
 * The candidate nearest to a misspelt name, `undefined` where none is near enough to be meant: in
 * two letters, or a third of a long name's.
 */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const distance = levenshteinDistance(name, candidate) as number;
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  if (best === undefined) return undefined;
  // Two letters changed places count as two: the commonest slip must be found in short names too.
  const allowed = best.length < 4 ? 1 : Math.max(2, Math.floor(best.length / 3));
  return bestDistance <= allowed ? best : undefined;
}

/** `; did you mean "X"?`, or nothing. */
export function suggestion(name: string, candidates: Iterable<string>, prefix = ""): string {
  const found = nearest(name, candidates);
  return found === undefined ? "" : `; did you mean "${prefix}${found}"?`;
}
