/** One clock for each session that a training loop calls. */
import { RunClock } from "../runtime/run_clock.ts";

/**
 * The longest that a signal or a display may have to wait for a call, in milliseconds. A step is some hundred
 * shorter calls, each of which would otherwise wait for another thread.
 */
const BRIEF_MS = 50;
const clocks = new WeakMap<object, WeakMap<object, RunClock>>();

/**
 * The clock of a session, whose calls at the same sizes take about the same time.
 *
 * @param sizes the sizes of a batch; default: the session always runs at the same sizes
 */
export function sessionClock(session: object, sizes: object = session): RunClock {
  let ofSizes = clocks.get(sizes);
  if (ofSizes === undefined) clocks.set(sizes, ofSizes = new WeakMap());
  let clock = ofSizes.get(session);
  if (clock === undefined) {
    ofSizes.set(session, clock = new RunClock({ briefMs: BRIEF_MS, sustained: true }));
  }
  return clock;
}
