/** Asks for something again and again. */
import { useEffect } from "preact/hooks";

/**
 * Calls a function at once and then `ms` after it has ended, while the window can be seen.
 *
 * @param {(signal: AbortSignal) => Promise<unknown>} ask its failures are its own business
 * @param {number} ms
 * @returns {() => void} ends it
 */
export function poll(ask, ms) {
  const stop = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const again = async () => {
    clearTimeout(timer);
    if (!document.hidden) await ask(stop.signal);
    if (!stop.signal.aborted) timer = setTimeout(again, ms);
  };
  again();
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}

/**
 * {@linkcode poll} while a component is shown.
 *
 * @param {(signal: AbortSignal) => Promise<unknown>} ask
 * @param {number} ms
 * @param {readonly unknown[]} dependencies it begins anew when one of them changes
 */
export function usePoll(ask, ms, dependencies) {
  useEffect(() => poll(ask, ms), [...dependencies]);
}
