/** The clock as interfaces write it. */

/** Whole seconds since 1970, in UTC. */
export function unixSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
