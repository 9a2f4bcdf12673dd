/** Ranks for each module within a number of parameters. */

/** A module that can have a rank. */
export interface RankedModule {
  readonly path: string;
  /** Parameters of each rank: inputs + outputs. */
  readonly cost: number;
  /** Singular values of the gradient with respect to its weight, descending. */
  readonly singularValues: ArrayLike<number>;
}

/**
 * Gives each module the rank at which the whole update can follow the gradient best: takes the largest
 * squared singular values for their parameters, as long as there are parameters left.
 *
 * To first order, an update of a given size lowers the loss by the norm of the gradient's part that it
 * can follow, and a rank r can follow the r largest singular values of each module.
 *
 * @param parameters the most in all
 * @param mostRank the largest rank of a module
 * @returns ranks by path, 0 for modules that are better left alone
 */
export function allocateRanks(
  modules: readonly RankedModule[],
  parameters: number,
  mostRank: number,
): ReadonlyMap<string, number> {
  const directions = modules.flatMap(({ path, cost, singularValues }) =>
    Array.from(singularValues).slice(0, mostRank)
      .map((value) => ({ path, cost, gain: value * value / cost }))
  );
  const ranks = new Map(modules.map(({ path }) => [path, 0]));
  const full = new Set<string>();
  let left = parameters;
  for (const { path, cost } of directions.toSorted((a, b) => b.gain - a.gain)) {
    // A smaller singular value of the same module must not take its place.
    if (full.has(path)) continue;
    if (cost > left) {
      full.add(path);
      continue;
    }
    ranks.set(path, ranks.get(path)! + 1);
    left -= cost;
  }
  return ranks;
}
