/** The mean of the similarities of many matrices. */

type Similarity = readonly (readonly number[])[];

/**
 * The mean of the grids of the most frequent size; `undefined` if all are empty.
 *
 * @returns the mean, and how many grids are in it
 */
export function meanSimilarity(
  grids: readonly Similarity[],
): { readonly values: Similarity; readonly count: number } | undefined {
  const bySize = new Map<string, Similarity[]>();
  for (const grid of grids) {
    if (grid.length === 0 || grid[0].length === 0) continue;
    const size = `${grid.length} ${grid[0].length}`;
    bySize.set(size, [...bySize.get(size) ?? [], grid]);
  }
  const [most] = [...bySize.values()].sort((a, b) => b.length - a.length);
  if (most === undefined) return undefined;
  const values = most[0].map((row, i) =>
    row.map((_, j) => most.reduce((sum, grid) => sum + grid[i][j], 0) / most.length)
  );
  return { values, count: most.length };
}
