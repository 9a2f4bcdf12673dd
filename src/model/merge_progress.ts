/** How far a merge is, and where its time goes. */
import type { MergeMethod } from "../lora/merge/mod.ts";

/** A kind of work that a merge does; ways of rounding by their names. */
export type MergeStage =
  | "base"
  | "adapter"
  | Exclude<MergeMethod, "tuned">
  | "tuning"
  | "comparing"
  | "measuring"
  | "timing";

/**
 * What a stage takes beside measuring a model, which is 1: shares of the whole can be no more than an
 * estimate. Seen with SmolLM2 in 4 bits, 192 rows of training and 64 of held-out data.
 */
const WORK: Readonly<Record<MergeStage, number>> = {
  base: 1,
  adapter: 1,
  nearest: 1,
  fitted: 1.5,
  compensated: 8,
  scales: 0.3,
  "8bit": 8,
  float: 1,
  tuning: 3,
  comparing: 0.5,
  measuring: 1,
  timing: 0.4,
};

/** A sign of work in progress. */
export interface MergeReport {
  /** What is being done, for people. */
  readonly text: string;
  /** Share of the whole work that is done, 0 to 1; lower than before where more has turned out to be needed. */
  readonly share: number;
}

/** Tracks the stages of a merge. */
export class MergeProgress {
  /** Seconds by stage, in the order they began. */
  readonly seconds: Map<MergeStage, number> = new Map();
  readonly #expected: MergeStage[] = [];
  readonly #began: number;
  #done = 0;

  /** @param now milliseconds, for tests */
  constructor(
    readonly onReport?: (report: MergeReport) => void,
    readonly now: () => number = () => performance.now(),
  ) {
    this.#began = now();
  }

  /** Seconds since the work began. */
  get elapsed(): number {
    return (this.now() - this.#began) / 1000;
  }

  /** Announces work, so that it counts in what is left. */
  expect(...stages: readonly MergeStage[]): void {
    this.#expected.push(...stages);
  }

  /** Takes back what was announced and is not needed after all. */
  cancel(...stages: readonly MergeStage[]): void {
    for (const stage of stages) {
      const at = this.#expected.indexOf(stage);
      if (at >= 0) this.#expected.splice(at, 1);
    }
  }

  /**
   * Does a stage's work.
   *
   * @param work is given what tells how far it is, by a text and the share of the stage
   */
  async run<T>(
    stage: MergeStage,
    work: (tell: (text: string, share: number) => void) => Promise<T>,
  ): Promise<T> {
    this.cancel(stage);
    const start = this.now();
    const left = this.#expected.reduce((sum, other) => sum + WORK[other], 0);
    try {
      return await work((text, share) => {
        const done = this.#done + WORK[stage] * Math.min(1, share);
        this.onReport?.({ text, share: done / (this.#done + WORK[stage] + left) });
      });
    } finally {
      this.#done += WORK[stage];
      this.#add(stage, (this.now() - start) / 1000);
    }
  }

  /** Counts seconds for a stage. */
  #add(stage: MergeStage, seconds: number): void {
    this.seconds.set(stage, (this.seconds.get(stage) ?? 0) + seconds);
  }
}
