/** How long candidates train before the worse ones are left behind. */

/** Trainings of a candidate: short, longer, whole. */
const RUNGS = 3;

/**
 * Steps after which candidates are compared, ascending, the last one a whole training: successive halving
 * (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
 * 2016) with the reduction factor of Hyperband.
 */
export function rungsOf(totalSteps: number, reductionFactor: number): readonly number[] {
  const rungs = Array.from(
    { length: RUNGS },
    (_, i) => Math.ceil(totalSteps / reductionFactor ** (RUNGS - 1 - i)),
  );
  return [...new Set(rungs)];
}
