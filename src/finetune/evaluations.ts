/** What a run's evaluations found, for whoever measures the same later. */
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
   * Losses before the first step, which are the base's, and of the adapter of a step; `undefined` where
   * either was not evaluated in this run, as after a resume.
   */
  around(step: number): ReferenceLosses | undefined {
    const [base, adapter] = [this.#byStep.get(0), this.#byStep.get(step)];
    return step > 0 && base !== undefined && adapter !== undefined ? { base, adapter } : undefined;
  }
}
