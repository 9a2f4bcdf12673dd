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
/** Weight of the last answer in the mean. */
const WEIGHT = 0.2;
/** Waits are by chance up to this share longer, so that a fleet does not ask at once. */
const CHANCE = 1 / 3;

export class PollPace {
  readonly #pollMs: number;
  #quickestMs = LONGEST_WAY_MS;
  #lateMs = 0;

  /** @param pollMs milliseconds between questions to a SuperLink that has little to do */
  constructor(pollMs = POLL_MS) {
    this.#pollMs = pollMs;
  }

  /** Takes note of how long an answer took; what the way there takes at best is no lateness. */
  answered(milliseconds: number): void {
    this.#quickestMs = Math.min(this.#quickestMs, milliseconds);
    const late = Math.min(milliseconds - this.#quickestMs, LONGEST_MS / PATIENCE);
    this.#lateMs += WEIGHT * (late - this.#lateMs);
  }

  /** Milliseconds between questions, without chance. */
  get intervalMs(): number {
    return Math.min(this.#pollMs + PATIENCE * this.#lateMs, LONGEST_MS);
  }

  /** Milliseconds before the next question. */
  waitMs(random: () => number = Math.random): number {
    return this.intervalMs * (1 + CHANCE * random());
  }
}
