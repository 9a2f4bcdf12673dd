/** Whether another round of tuning scales may bring what is missing of an adapter's gain. */

/**
 * Share of the gain that a round may be expected to bring, by what is tuned. Labels go on teaching fitted
 * scales: of the adapter of two projections 73% were kept before tuning, 95% after twelve steps and 125%
 * after thirty-six. Rounded codes are distilled, which ends at the teacher.
 */
const WITHIN_REACH = { fitted: 0.2, rounded: 0.05 };

/** What a tuning starts from. */
export type TuningStart = keyof typeof WITHIN_REACH;

/** Shares of the gain. */
export interface RoundGains {
  /** What is kept now. */
  readonly kept: number;
  /** What was kept before the last round, where that is known. */
  readonly keptBefore: number | undefined;
  /** What is aimed at. */
  readonly aim: number;
}

/** A round may bring what the one before has brought, or what its kind is expected to bring. */
export function isWithinReach(
  start: TuningStart,
  { kept, keptBefore, aim }: RoundGains,
): boolean {
  return aim - kept < Math.max(WITHIN_REACH[start], kept - (keptBefore ?? kept));
}
