/** Waits between tries that grow, and differ from box to box so that a fleet does not come back at once. */

const FIRST_MS = 1000;
/** Longest wait, as in Flower's own client. */
const LONGEST_MS = 20_000;

/**
 * Milliseconds before the next try, half of them by chance.
 *
 * @param done tries so far, from 1
 */
export function backOff(done: number, random: () => number = Math.random): number {
  const whole = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(done - 1, 10));
  return whole * (0.5 + 0.5 * random());
}
