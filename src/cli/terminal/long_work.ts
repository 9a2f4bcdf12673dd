/** Reports the progress of long work, on a terminal and elsewhere. */
import { formatSeconds } from "./format.ts";
import type { Terminal } from "./output.ts";

/** Time between two lines outside a terminal, where lines stay. */
const EVERY_MS = 30_000;
/** Share of the work that must be done before the remaining time is shown. */
const LEAST_SHARE = 0.05;
const BAR_WIDTH = 12;

/**
 * @param now milliseconds, for tests
 * @returns a function that shows a line: redrawn in place on a terminal; elsewhere a note, at most one
 *   in half a minute. With the share of the work that is done, 0 to 1, also a bar and the remaining time
 */
export function longWork(
  terminal: Terminal,
  now: () => number = () => performance.now(),
): (line: string, share?: number) => void {
  const began = now();
  let last = began;
  return (line, share) => {
    if (terminal.interactive) {
      const bar = share === undefined ? "" : `${barOf(share)} `;
      return terminal.status(`${bar}${line}${timeLeft(now() - began, share)}`);
    }
    if (now() - last < EVERY_MS) return;
    last = now();
    terminal.note(`${line}${timeLeft(now() - began, share)}`);
  };
}

function barOf(share: number): string {
  const filled = Math.floor(BAR_WIDTH * Math.min(1, share));
  return "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
}

/** The remaining time, if the work continues at the same speed. */
function timeLeft(milliseconds: number, share: number | undefined): string {
  if (share === undefined || share < LEAST_SHARE) return "";
  return `; about ${formatSeconds(milliseconds / 1000 * (1 - share) / share)} left`;
}
