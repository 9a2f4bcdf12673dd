/** What two runs of several seeds differ by, and how sure that is: Student's paired t-test. */
import { mean } from "../statistics.ts";

/** The mean of paired differences with its 95% confidence interval, `mean` ± `halfWidth`. */
export interface Difference {
  /** Mean of the differences. */
  readonly mean: number;
  /** Infinite for a single pair. */
  readonly halfWidth: number;
}

/**
 * Differences a − b of runs that have a seed in common, which gives both the same order of rows: what
 * the seed alone does to both is not in the interval.
 *
 * @throws {RangeError} for lists of different lengths
 */
export function pairedDifference(a: readonly number[], b: readonly number[]): Difference {
  if (a.length !== b.length) {
    throw new RangeError(`Cannot pair ${a.length} values with ${b.length}`);
  }
  const differences = a.map((value, i) => value - b[i]);
  const count = differences.length;
  const center = mean(differences);
  if (count < 2) return { mean: center, halfWidth: Infinity };
  const squares = differences.reduce((sum, value) => sum + (value - center) ** 2, 0);
  const standardError = Math.sqrt(squares / (count - 1) / count);
  return { mean: center, halfWidth: tQuantile(count - 1) * standardError };
}

/** Whether a is better than b beyond the interval. */
export function isBetter(a: readonly number[], b: readonly number[]): boolean {
  const difference = pairedDifference(a, b);
  return difference.mean > difference.halfWidth;
}

/** Student's t at 0.975, for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2). */
const T_975 = [
  ...[12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622, 2.2281],
  ...[2.201, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.093, 2.086],
  ...[2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423],
];
/** The normal distribution's. */
const Z_975 = 1.959964;

/** Student's t at 0.975; above the table by the first terms of its Cornish–Fisher expansion. */
export function tQuantile(degrees: number): number {
  if (degrees <= T_975.length) return T_975[degrees - 1];
  const z = Z_975;
  return z + (z ** 3 + z) / (4 * degrees) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degrees ** 2);
}
