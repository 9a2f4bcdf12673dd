/** The newest release of a fleet's store, verified, for another carrier. */
import { UsageError } from "../../errors.ts";
import { openOrder } from "../release/envelope.ts";
import type { TrustedKeys } from "../release/keys.ts";
import { type Order, piecesOf } from "../release/order.ts";
import type { FleetStore } from "../store/store.ts";

/** A signed order and the pieces of its release. */
export interface GivenRelease {
  readonly order: Order;
  /** The order with its signature. */
  readonly envelope: Uint8Array<ArrayBuffer>;
  /** Sizes in bytes, by digest. */
  readonly pieces: ReadonlyMap<string, number>;
  /** A piece's bytes, checked against its digest. */
  readPiece(digest: string, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * Reads the newest order of a store.
 *
 * @throws {UsageError} if nothing was published
 * @throws {BadInputError} if no trusted key has signed it
 */
export async function givenRelease(
  store: FleetStore,
  fleet: string,
  keys: TrustedKeys,
): Promise<GivenRelease> {
  const stored = await store.order();
  if (stored === undefined) {
    throw new UsageError(
      `No release was published to ${store.address}: graft fleet publish begins`,
    );
  }
  const order = openOrder(stored.bytes, keys, fleet, store.address);
  return {
    order,
    envelope: stored.bytes.slice(),
    pieces: order.target === null ? new Map() : piecesOf(order.target),
    readPiece: (digest, sizeBytes) => store.piece(digest, sizeBytes),
  };
}
