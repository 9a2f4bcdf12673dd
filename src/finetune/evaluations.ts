/** The results of a run's evaluations, for later use by whatever measures the same. */
import type { KnownLosses, ReferenceLosses } from "../eval/evaluate.ts";
import type { TrainCallbacks } from "../train/events.ts";

/** Collects the evaluations of one run. */
export class Evaluations {
  readonly #byStep = new Map<number, KnownLosses>();

  readonly callbacks: TrainCallbacks = {
    onEvaluate: ({ step, parts }) => {
      this.#byStep.set(step, {
        losses: parts.map(({ lossSum }) => lossSum),
        targets: parts.map(({ targetCount }) => targetCount),
      });
    },
  };

  /**
   * Losses before the first step, which are the base's, and of the adapter at a step; `undefined` if either
   * was not evaluated in this run, as after a resume.
   */
  around(step: number): ReferenceLosses | undefined {
    const [base, adapter] = [this.#byStep.get(0), this.#byStep.get(step)];
    return step > 0 && base !== undefined && adapter !== undefined ? { base, adapter } : undefined;
  }
}
