/**
 * Learning-rate schedules, equal to those of `transformers.optimization`
 * (`get_constant_schedule_with_warmup`, `get_linear_…`, `get_cosine_…`).
 */

/** Names of the schedules, as in `lr_scheduler_type`. */
export const SCHEDULE_NAMES = ["constant", "linear", "cosine"] as const;
/** One of {@linkcode SCHEDULE_NAMES}. */
export type ScheduleName = typeof SCHEDULE_NAMES[number];

/** How the learning rate changes from update to update. */
export interface LearningRateSchedule {
  readonly name: ScheduleName;
  /** The rate at the end of the warm-up. */
  readonly learningRate: number;
  /** Updates over which the rate rises linearly from 0. */
  readonly warmupSteps: number;
  /** Update at which a falling schedule reaches `endRate`, counted from the first. */
  readonly totalSteps: number;
  /** Final rate of linear and cosine; default 0. */
  readonly endRate?: number;
}

/**
 * Learning rate of the update number `step`, counted from 0.
 *
 * With `w` warm-up steps, `n` in all and `t = (step - w) / max(1, n - w)`, limited to 1: `step / max(1, w)`
 * while warming up, then 1 (constant), `1 - t` (linear) or `(1 + cos(π t)) / 2` (cosine), times
 * `learningRate` and with `endRate` as its floor.
 */
export function learningRateAt(schedule: LearningRateSchedule, step: number): number {
  const { name, learningRate, warmupSteps, totalSteps, endRate = 0 } = schedule;
  if (step < warmupSteps) return learningRate * step / Math.max(1, warmupSteps);
  const done = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  if (name === "constant") return learningRate;
  return endRate + (learningRate - endRate) * FACTOR[name](done);
}

const FACTOR: Readonly<Record<Exclude<ScheduleName, "constant">, (done: number) => number>> = {
  linear: (done) => 1 - done,
  cosine: (done) => 0.5 * (1 + Math.cos(Math.PI * done)),
};
