/** Ends a server's work: requests in it are answered, as far as there is time. */
import type { Admission } from "./admission.ts";

/** Share of the time after which answers in work are cut, so that they are sent before the limit. */
const CUT_AT = 0.8;

/** Time in which the last answers are sent, once no request is in work. */
export const FLUSH_MS = 1000;

/**
 * Refuses new requests, and waits for those in work.
 *
 * @param stop aborted shortly before the limit: answers end there
 * @returns whether all were answered before the limit
 */
export async function drainRequests(
  admission: Admission,
  stop: AbortController,
  limitMs: number,
): Promise<boolean> {
  const cut = setTimeout(() => stop.abort(), limitMs * CUT_AT);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), limitMs));
  try {
    return await Promise.race([admission.end().then(() => true), limit]);
  } finally {
    clearTimeout(cut);
    clearTimeout(timer);
  }
}
