/** How far long work is, on a terminal and where there is none. */
import type { Terminal } from "./output.ts";

/** Between two lines where lines stay: a log is for whoever looks whether the work goes on. */
const EVERY_MS = 30_000;

/**
 * @param now milliseconds, for tests
 * @returns shows a line: redrawn in place on a terminal; elsewhere a note, one in half a minute at most
 */
export function longWork(
  terminal: Terminal,
  now: () => number = () => performance.now(),
): (line: string) => void {
  let last = now();
  return (line) => {
    if (terminal.interactive) return terminal.status(line);
    if (now() - last < EVERY_MS) return;
    last = now();
    terminal.note(line);
  };
}
