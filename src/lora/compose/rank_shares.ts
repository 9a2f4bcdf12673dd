/** How much of an update each rank keeps. */

/** Share of an adapter's whole update that its best approximation of a rank keeps. */
export interface RankShare {
  /** Singular values that are kept in each module. */
  readonly rank: number;
  /** ‖ΔW of this rank‖/‖ΔW‖ over all modules together. */
  readonly share: number;
  /** The same of the module that keeps least. */
  readonly least: number;
  /** Path of that module. */
  readonly leastModule: string;
}

/**
 * Shares for the ranks 1, 2, 4, … and `chosen`, up to the one that keeps everything (Eckart and Young:
 * no matrix of that rank is nearer than the largest singular values).
 *
 * @param spectra singular values of each module's update, descending
 * @param asked ranks instead of the powers of two
 */
export function rankShares(
  spectra: ReadonlyMap<string, Float64Array>,
  chosen: number,
  asked?: readonly number[],
): readonly RankShare[] {
  const most = Math.max(1, ...[...spectra.values()].map(effectiveRank));
  const ranks = new Set([most, Math.min(chosen, most)]);
  for (const rank of asked ?? powersBelow(most)) ranks.add(Math.min(rank, most));
  return [...ranks].sort((a, b) => a - b).map((rank) => shareOf(spectra, rank));
}

function powersBelow(most: number): readonly number[] {
  const powers: number[] = [];
  for (let rank = 1; rank < most; rank *= 2) powers.push(rank);
  return powers;
}

/** Singular values that are more than rounding errors of float32. */
function effectiveRank(s: Float64Array): number {
  return s.filter((value) => value > 2 ** -23 * s[0]).length;
}

function shareOf(spectra: ReadonlyMap<string, Float64Array>, rank: number): RankShare {
  let [kept, whole] = [0, 0];
  let [least, leastModule] = [Infinity, ""];
  for (const [path, s] of spectra) {
    const own = squares(s.subarray(0, rank));
    const all = squares(s);
    kept += own;
    whole += all;
    const share = root(own, all);
    if (share < least) [least, leastModule] = [share, path];
  }
  return { rank, share: root(kept, whole), least, leastModule };
}

const squares = (s: Float64Array) => s.reduce((sum, value) => sum + value * value, 0);
/** Nothing is kept whole. */
const root = (part: number, whole: number) => whole === 0 ? 1 : Math.sqrt(part / whole);
