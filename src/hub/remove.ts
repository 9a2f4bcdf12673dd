/** Removes a revision of a pulled model, and files that no other revision uses. */
import { dirname, join } from "@std/path";
import { RefusedError, StorageError } from "../errors.ts";
import { claimDirectory } from "../system/claim.ts";
import { exists, syncDirectory } from "../system/durable_files.ts";
import { tryLock } from "../system/file_lock.ts";
import { type RepositoryFolder, sizeOf } from "./cache.ts";

/** Result of a removal. */
export interface Removed {
  readonly sizeBytes: number;
  readonly blobs: number;
}

/** Names of blobs that a snapshot's links point to. */
function blobsOf(place: RepositoryFolder, commit: string): ReadonlySet<string> {
  const blobs = join(Deno.realPathSync(place.path), "blobs");
  return new Set(
    place.files(commit).map((path) => Deno.realPathSync(join(place.snapshot(commit), path)))
      .filter((path) => path.startsWith(`${blobs}/`)).map((path) => path.slice(blobs.length + 1)),
  );
}

/**
 * Removes a snapshot, the refs to it, and the blobs that only it uses. The snapshot is removed first and
 * at once: readers see all of it or nothing.
 *
 * @throws {RefusedError} if a process uses it, or pulls the model
 * @throws {StorageError} naming the path
 */
export function removeSnapshot(place: RepositoryFolder, commit: string): Removed {
  const { repository } = place;
  using pulling = claimDirectory(place.path);
  if (pulling === undefined) {
    throw new RefusedError(`Cannot remove ${repository}: it is being pulled; try again after that`);
  }
  const snapshot = place.snapshot(commit);
  using using_ = claimDirectory(snapshot);
  if (using_ === undefined) {
    throw new RefusedError(
      `Cannot remove ${repository} at ${commit.slice(0, 12)}: a process uses it; stop that first`,
    );
  }
  const others = place.commits().filter((other) => other !== commit);
  const kept = new Set(others.flatMap((other) => [...blobsOf(place, other)]));
  const going = [...blobsOf(place, commit)].filter((hex) => !kept.has(hex));
  using locks = new DisposableStack();
  for (const hex of going) {
    const lock = tryLock(place.lock(hex));
    if (lock === undefined) {
      throw new RefusedError(
        `Cannot remove ${repository}: another process is writing ${place.blob(hex)}; try again`,
      );
    }
    locks.use(lock);
  }
  const sizeBytes = going.reduce((sum, hex) => sum + (sizeOf(place.blob(hex)) ?? 0), 0);
  try {
    for (const [name, at] of place.refs()) if (at === commit) Deno.removeSync(place.ref(name));
    const leaving = join(place.path, `.removed-${commit}`);
    if (exists(leaving)) Deno.removeSync(leaving, { recursive: true });
    Deno.renameSync(snapshot, leaving);
    // A power loss must not restore the links without their blobs.
    syncDirectory(dirname(snapshot));
    Deno.removeSync(leaving, { recursive: true });
    for (const hex of going) Deno.removeSync(place.blob(hex));
    if (others.length === 0) Deno.removeSync(place.path, { recursive: true });
  } catch (error) {
    throw new StorageError(`Cannot remove ${place.path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return { sizeBytes, blobs: going.length };
}
