/** Where a fleet's order, the pieces of its releases and the reports of its boxes are. */

/** A stored value, and what tells it from later ones. */
export interface StoredOrder {
  /** The envelope (`release/envelope.ts`), not yet verified. */
  readonly bytes: Uint8Array;
  readonly revision: number;
}

/**
 * A fleet's store. What it gives back is not trusted: orders are verified by their signatures, pieces by
 * their digests.
 *
 * Methods throw {@linkcode ServerError} if the store cannot be reached, {@linkcode AccessError} if it
 * refuses, and {@linkcode BadInputError} for content that cannot be what was stored.
 */
export interface FleetStore extends AsyncDisposable {
  /** Its address, for messages. */
  readonly address: string;
  /** Creates what the store consists of, unless it exists; for operators. */
  create(): Promise<void>;
  /** The newest order; `undefined` if there never was one. */
  order(): Promise<StoredOrder | undefined>;
  /** Envelopes of kept orders, the newest first. */
  orders(): Promise<Uint8Array[]>;
  /**
   * Stores an order after the one with a revision.
   *
   * @param after that of the newest order; `undefined` if there is none
   * @throws {BusyError} if another order came in between
   */
  putOrder(envelope: Uint8Array<ArrayBuffer>, after: number | undefined): Promise<void>;
  putPiece(digest: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** A piece's bytes, checked against its size and digest. */
  piece(digest: string, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Digests of all stored pieces. */
  pieces(): Promise<string[]>;
  removePiece(digest: string): Promise<void>;
  /** Stores a box's report in the place of its last one. */
  report(box: string, report: Uint8Array<ArrayBuffer>): Promise<void>;
  /** The last report of each box, by its name. */
  reports(): Promise<ReadonlyMap<string, Uint8Array>>;
  /**
   * Resolves when there is another order than the one of a revision, the time is over, or the signal comes.
   */
  changed(revision: number | undefined, waitMs: number, signal: AbortSignal): Promise<void>;
}
