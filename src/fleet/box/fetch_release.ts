/** Fetches the pieces of a release that the inbox lacks. */
import { StorageError } from "../../errors.ts";
import { freeDiskBytes } from "../../system/disk.ts";
import { piecesOf, type Release, releaseBytes } from "../release/order.ts";
import { BadInputError } from "../../errors.ts";
import type { FleetStore } from "../store/store.ts";
import type { Inbox } from "./inbox.ts";

/** Space that stays free for everything else on the disk. */
const SPARE_BYTES = 64 * 2 ** 20;

/** What a release may take. */
export interface FetchOptions {
  /** Most bytes that a release may have. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  /** Bytes on the inbox's disk, if known. */
  readonly free?: number;
}

/**
 * Fetches a release. What was fetched before a kill or a failure is not fetched again.
 *
 * @throws {BadInputError} if it is larger, or the store has something else under a piece's name
 * @throws {StorageError} if the disk has too little space, before anything is fetched, or cannot be written
 * @throws {ServerError} if the store does not answer
 */
export async function fetchRelease(
  store: FleetStore,
  inbox: Inbox,
  release: Release,
  { maxBytes, signal, free = freeDiskBytes(inbox.folder) }: FetchOptions,
): Promise<void> {
  const size = releaseBytes(release);
  if (size > maxBytes) {
    throw new BadInputError(
      (name) =>
        `Release ${release.name} has ${size} bytes, and ${
          name("maxSize")
        } allows ${maxBytes}: nothing was ` +
        "fetched",
    );
  }
  const missing = [...piecesOf(release)].filter(([digest, bytes]) =>
    !inbox.hasPiece(digest, bytes)
  );
  const missingBytes = missing.reduce((sum, [, bytes]) => sum + bytes, 0);
  if (free !== undefined && missing.length > 0 && free < missingBytes + SPARE_BYTES) {
    throw new StorageError(
      `Release ${release.name} needs ${missingBytes} bytes in ${inbox.folder}, ${SPARE_BYTES} more must ` +
        `stay free, and the disk has ${free}: nothing was fetched; free some space`,
    );
  }
  for (const [digest, bytes] of missing) {
    signal.throwIfAborted();
    inbox.savePiece(digest, await store.piece(digest, bytes));
  }
}
