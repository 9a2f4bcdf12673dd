/** How a caller follows work that takes long, and ends it. */

/** Follows work by its events, and ends it. */
export interface Watch<Event> {
  /** Called with each event as it comes. */
  readonly onEvent?: (event: Event) => void;
  /** Ends the work at the next matrix, batch or file: its reason is thrown. */
  readonly signal?: AbortSignal;
}
