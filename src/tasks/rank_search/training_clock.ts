/** How long the steps of a training take, without what comes before and between them. */
import type { FineTuneEvent } from "../../finetune/mod.ts";

/** Counts the seconds of steps from a training's events. */
export class TrainingClock {
  #began: number | undefined;
  #paused = 0;
  /** Seconds of all steps so far. */
  seconds = 0;

  /** @param now milliseconds, for tests */
  constructor(readonly now: () => number = () => performance.now()) {}

  /** Takes the next event. */
  take(event: FineTuneEvent): void {
    switch (event.kind) {
      case "started":
        this.#begin();
        return;
      case "step":
      case "skipped":
        this.seconds += ((this.now() - this.#began!) / 1000) - this.#paused;
        this.#begin();
        return;
      case "continued":
        this.#paused += event.seconds;
        return;
      case "evaluated":
      case "checkpoint":
        // Both come between steps.
        this.#begin();
    }
  }

  #begin(): void {
    this.#began = this.now();
    this.#paused = 0;
  }
}
