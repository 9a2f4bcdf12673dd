/** One clock for each session that a training loop calls. */
import { RunClock } from "../runtime/run_clock.ts";

/**
 * What a signal or a display may have to wait for a call, in milliseconds. A step is some hundred
 * shorter ones, each of which would wait for another thread.
 */
const BRIEF_MS = 50;
const clocks = new WeakMap<object, RunClock>();

/** The clock of a session, whose calls of one shape take about as long each time. */
export function sessionClock(session: object): RunClock {
  let clock = clocks.get(session);
  if (clock === undefined) {
    clocks.set(session, clock = new RunClock({ briefMs: BRIEF_MS, sustained: true }));
  }
  return clock;
}
