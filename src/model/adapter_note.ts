/** What opening an adapter reports. */

/** What does not fit together in an adapter. */
export interface AdapterNote {
  /** Which event it is. */
  readonly kind: "adapter note";
  /** A sentence. */
  readonly text: string;
}
