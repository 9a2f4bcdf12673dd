/** Decides which runs are short enough to block the event loop, by the duration of the last one. */
import { sleepElsewhere } from "../../ffi/libc.ts";

/**
 * Runs that should take less than this are brief: switching to another thread, whose core has to wake up
 * first, makes a run of 12 ms a twentieth slower, and one of 28 ms no faster. Other requests wait at
 * most for this time and one turn.
 */
const BRIEF_MS = 50;
/** Time of consecutive brief runs after which the event loop gets a turn. */
const HELD_MS = 50;

/** Time for which the event loop has been blocked since its last turn, over all clocks. */
let held = 0;
let lastEnd = performance.now();

export interface RunClockOptions {
  /** Milliseconds for which a run may block the event loop. */
  readonly briefMs?: number;
  /** Milliseconds of consecutive brief runs after which the event loop gets a turn. */
  readonly heldMs?: number;
  /**
   * Whether the work between runs blocks the event loop too, as in a training loop, which may write
   * files meanwhile; default false, for runs that answer requests, between which the loop was idle.
   */
  readonly sustained?: boolean;
}

/** Times the runs of one graph. */
export class RunClock {
  readonly #briefMs: number;
  readonly #heldMs: number;
  readonly #sustained: boolean;
  #msPerToken = Infinity;

  constructor(
    { briefMs = BRIEF_MS, heldMs = HELD_MS, sustained = false }: RunClockOptions = {},
  ) {
    this.#briefMs = briefMs;
    this.#heldMs = heldMs;
    this.#sustained = sustained;
  }

  /**
   * Times a run.
   *
   * @param tokens number of tokens, padding included
   * @param run called with whether it should be brief
   */
  async time<T>(tokens: number, run: (brief: boolean) => Promise<T>): Promise<T> {
    const start = performance.now();
    if (this.#sustained) held += start - lastEnd;
    const brief = this.#msPerToken * tokens < this.#briefMs;
    const result = await run(brief);
    lastEnd = performance.now();
    const took = lastEnd - start;
    this.#msPerToken = took / tokens;
    held = brief ? held + took : 0;
    if (held > this.#heldMs) {
      await eventLoopTurn();
      held = 0;
      lastEnd = performance.now();
    }
    return result;
  }
}

/**
 * Lets the event loop handle events. Deno polls signals and sockets when it is idle: with `setImmediate`
 * they wait for up to sixty turns, and a timer takes a millisecond or two. So another thread sleeps
 * briefly while this one waits.
 */
async function eventLoopTurn(): Promise<void> {
  await sleepElsewhere(TURN_US);
}

const TURN_US = 50;
