/** Which runs are short enough to hold up the event loop, from how long the last one took. */
import { setImmediate } from "node:timers";

/**
 * Runs that should take less than this are brief. Beside longer ones the way to another thread is
 * little; a run of 12 ms loses a twentieth by it, where the other processor has to wake up first.
 */
const BRIEF_MS = 25;
/** The event loop gets a turn at least this often, whatever the runs are called like. */
const TURN_MS = 30;

/** Times the runs of one graph. */
export class RunClock {
  #msPerToken = Infinity;
  #lastTurn = performance.now();

  /**
   * Does a run.
   *
   * @param tokens that it reads, padding included
   * @param run told whether it should be brief
   */
  async time<T>(tokens: number, run: (brief: boolean) => Promise<T>): Promise<T> {
    const start = performance.now();
    const brief = this.#msPerToken * tokens < BRIEF_MS;
    const result = await run(brief);
    const end = performance.now();
    this.#msPerToken = (end - start) / tokens;
    if (!brief) this.#lastTurn = end;
    else if (end - this.#lastTurn > TURN_MS) {
      await new Promise<void>((done) => setImmediate(done));
      this.#lastTurn = performance.now();
    }
    return result;
  }
}
