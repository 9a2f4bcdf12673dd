/**
 * How often a node asks for messages: as Flower's own nodes, and less often while answers take longer than
 * the quickest did. A SuperLink answers about a hundred questions a second (docs/fleet.md); a fleet that
 * asks more than that would have it answer nothing else.
 */

/** Milliseconds between questions, as of Flower's own nodes. */
const POLL_MS = 3000;
/** Milliseconds between questions at most, chance aside. */
export const LONGEST_MS = 180_000;
/** Milliseconds longer that a node waits for each millisecond that an answer was late. */
const PATIENCE = 500;
/** Milliseconds of an answer that count as those of the way there: most ways are shorter. */
const LONGEST_WAY_MS = 250;
/** Weight of the last answer in the mean, if it was later than that, and if it was not. */
const [WEIGHT_LATER, WEIGHT_SOONER] = [0.2, 0.4];
/** How much longer than the last wait, and the answer that followed it, the next one may be. */
const GROWTH = 1.5;
/** Waits are by chance up to this share longer or shorter: boxes that a rush has held up go different ways. */
const CHANCE = 1 / 2;

export class PollPace {
  readonly #pollMs: number;
  #quickestMs = LONGEST_WAY_MS;
  #lateMs = 0;

  /** @param pollMs milliseconds between questions to a SuperLink that has little to do */
  constructor(pollMs = POLL_MS) {
    this.#pollMs = pollMs;
  }

  /**
   * Takes note of how long an answer took; what the way there takes at best is no lateness.
   *
   * A wait grows with the time for which answers are late already: a short rush, such as a round of a small
   * fleet, costs a box not much more than the rush itself.
   */
  answered(milliseconds: number): void {
    this.#quickestMs = Math.min(this.#quickestMs, milliseconds);
    const late = Math.min(milliseconds - this.#quickestMs, LONGEST_MS / PATIENCE);
    const longest = Math.min(GROWTH * (this.intervalMs + milliseconds), LONGEST_MS);
    const weight = late > this.#lateMs ? WEIGHT_LATER : WEIGHT_SOONER;
    this.#lateMs = Math.min(
      this.#lateMs + weight * (late - this.#lateMs),
      (longest - this.#pollMs) / PATIENCE,
    );
  }

  /** Milliseconds between questions, without chance. */
  get intervalMs(): number {
    return this.#pollMs + PATIENCE * this.#lateMs;
  }

  /** Milliseconds before the first question: none after a quick start, else a part of the others' waits. */
  firstWaitMs(random: () => number = Math.random): number {
    return PATIENCE * this.#lateMs * random();
  }

  /** Milliseconds before the next question. */
  waitMs(random: () => number = Math.random): number {
    return this.intervalMs * (1 + CHANCE * (2 * random() - 1));
  }
}
