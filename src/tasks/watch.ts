/** How a caller follows long work, and ends it. */

/** Follows work by its events, and ends it. */
export interface Watch<Event> {
  /** Called with each event as it comes. */
  readonly onEvent?: (event: Event) => void;
  /** Ends the work at the next matrix, batch or file; the call then throws the signal's reason. */
  readonly signal?: AbortSignal;
}
