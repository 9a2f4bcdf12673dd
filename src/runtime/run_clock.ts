/** Which runs are short enough to hold up the event loop, from how long the last one took. */
import { setImmediate } from "node:timers";

/**
 * Runs that should take less than this are brief. Beside longer ones the way to another thread is
 * little; a run of 12 ms loses a twentieth by it, where the other processor has to wake up first.
 */
const BRIEF_MS = 25;
/** The event loop gets a turn at least this often, whatever the runs are called like. */
const TURN_MS = 30;

/** When the event loop had its last turn, as far as clocks know: there is one loop for all of them. */
let lastTurn = performance.now();

/** Times the runs of one graph. */
export class RunClock {
  readonly #briefMs: number;
  #msPerToken = Infinity;

  /** @param briefMs milliseconds that a run may hold up the event loop */
  constructor(briefMs = BRIEF_MS) {
    this.#briefMs = briefMs;
  }

  /**
   * Does a run.
   *
   * @param tokens that it reads, padding included
   * @param run told whether it should be brief
   */
  async time<T>(tokens: number, run: (brief: boolean) => Promise<T>): Promise<T> {
    const start = performance.now();
    const brief = this.#msPerToken * tokens < this.#briefMs;
    const result = await run(brief);
    const end = performance.now();
    this.#msPerToken = (end - start) / tokens;
    if (!brief) lastTurn = end;
    else if (end - lastTurn > TURN_MS) {
      await new Promise<void>((done) => setImmediate(done));
      lastTurn = performance.now();
    }
    return result;
  }
}
