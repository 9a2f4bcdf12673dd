/** Puts a release into a plain folder, which boxes follow as a server. */
import type { GivenOrder } from "../operator/fleet_desk.ts";
import { piecesOf } from "../release/order.ts";
import { FolderStore } from "../store/folder_store.ts";
import type { FleetStore } from "../store/store.ts";

/**
 * Copies an order and the pieces of its release into a folder; what is there already is not read again.
 *
 * @throws {BadInputError} if a piece is missing or damaged
 * @throws {BusyError} if another order is put there at the same time
 * @throws {StorageError} if the folder cannot be written
 */
export async function exportFolder(
  store: FleetStore,
  { order, envelope }: GivenOrder,
  folder: string,
): Promise<void> {
  const target = new FolderStore(folder);
  await target.create();
  const there = new Set(await target.pieces());
  for (const [digest, sizeBytes] of piecesOf(order.target)) {
    if (!there.has(digest)) await target.putPiece(digest, await store.piece(digest, sizeBytes));
  }
  // Last: a box that sees the order finds its pieces.
  await target.putOrder(envelope.slice(), (await target.order())?.revision);
}
