/** "Did you mean": the nearest of the names that exist. */
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/**
 * The candidate nearest to a misspelt name, `undefined` where none is near enough to be meant
 * (more than a third of its letters differ).
 */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const distance = levenshteinDistance(name, candidate) as number;
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best !== undefined && bestDistance <= Math.max(1, Math.floor(best.length / 3))
    ? best
    : undefined;
}

/** `; did you mean "X"?`, or nothing. */
export function suggestion(name: string, candidates: Iterable<string>, prefix = ""): string {
  const found = nearest(name, candidates);
  return found === undefined ? "" : `; did you mean "${prefix}${found}"?`;
}
