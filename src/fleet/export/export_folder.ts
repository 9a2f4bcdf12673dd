/** Puts a release into a plain folder, which boxes follow as a server. */
import { FolderStore } from "../store/folder_store.ts";
import type { GivenRelease } from "./given_release.ts";

/**
 * Copies the order and its pieces into a folder; what is there already is not read again.
 *
 * @throws {BadInputError} if a piece is missing or damaged
 * @throws {BusyError} if another order is put there at the same time
 * @throws {StorageError} if the folder cannot be written
 */
export async function exportFolder(
  { envelope, pieces, readPiece }: GivenRelease,
  folder: string,
): Promise<void> {
  const target = new FolderStore(folder);
  await target.create();
  const there = new Set(await target.pieces());
  for (const [digest, sizeBytes] of pieces) {
    if (!there.has(digest)) await target.putPiece(digest, await readPiece(digest, sizeBytes));
  }
  // Last: a box that sees the order finds its pieces.
  await target.putOrder(envelope, (await target.order())?.revision);
}
