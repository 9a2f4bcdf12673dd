/** Which runs are short enough to hold up the event loop, from how long the last one took. */
import { sleepElsewhere } from "../../ffi/libc.ts";

/**
 * Runs that should take less than this are brief: the way to another thread, where the other processor
 * has to wake up first, takes a run of 12 ms a twentieth more, and one of 28 ms no less. Who asks
 * meanwhile waits no longer than for this and a turn.
 */
const BRIEF_MS = 50;
/** What brief runs may take together before the event loop gets a turn. */
const HELD_MS = 50;

/** How long the event loop has been held up since its last turn: there is one for all clocks. */
let held = 0;
let lastEnd = performance.now();

export interface RunClockOptions {
  /** Milliseconds that a run may hold up the event loop. */
  readonly briefMs?: number;
  /**
   * Whether what lies between runs holds up the event loop too, as in a training loop, which may write
   * files meanwhile; default false, as where each run answers a request. Then the loop was idle.
   */
  readonly sustained?: boolean;
}

/** Times the runs of one graph. */
export class RunClock {
  readonly #briefMs: number;
  readonly #sustained: boolean;
  #msPerToken = Infinity;

  constructor({ briefMs = BRIEF_MS, sustained = false }: RunClockOptions = {}) {
    this.#briefMs = briefMs;
    this.#sustained = sustained;
  }

  /**
   * Does a run.
   *
   * @param tokens that it reads, padding included
   * @param run told whether it should be brief
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
    if (held > HELD_MS) {
      await eventLoopTurn();
      held = 0;
      lastEnd = performance.now();
    }
    return result;
  }
}

/**
 * Makes the event loop wait. Deno looks at signals and sockets when it has nothing to do: those that
 * arrive meanwhile wait for up to sixty turns where each is taken by `setImmediate`, and a timer takes
 * a whole millisecond or two. A thread that worked could be done before this one lies down.
 */
async function eventLoopTurn(): Promise<void> {
  await sleepElsewhere(TURN_US);
}

const TURN_US = 50;
