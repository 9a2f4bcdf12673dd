/** Decides whether another round of tuning scales may reach the target share of an adapter's gain. */

/**
 * Expected increase of the gain kept by a round, by the start of the tuning. Fitted scales keep learning
 * from labels: for the adapter of two projections 73% were kept before tuning, 95% after twelve steps
 * and 125% after thirty-six. Rounded codes are distilled, which cannot exceed the teacher.
 */
const WITHIN_REACH = { fitted: 0.2, rounded: 0.05 };

/** Start of a tuning. */
export type TuningStart = keyof typeof WITHIN_REACH;

/** Shares of the gain. */
export interface RoundGains {
  /** Share kept now. */
  readonly kept: number;
  /** Share kept before the last round, if known. */
  readonly keptBefore: number | undefined;
  /** Target share. */
  readonly aim: number;
}

/** A round may increase the share as much as the one before, or as expected for its start. */
export function isWithinReach(
  start: TuningStart,
  { kept, keptBefore, aim }: RoundGains,
): boolean {
  return aim - kept < Math.max(WITHIN_REACH[start], kept - (keptBefore ?? kept));
}
