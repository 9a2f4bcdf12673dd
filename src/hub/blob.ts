/** One file of a repository on the disk: partial until it is complete and verified. */
import { dirname } from "@std/path";
import { BadInputError, StorageError } from "../errors.ts";
import { makeDirectory, syncDirectory } from "../system/durable_files.ts";
import { waitForLock } from "../system/file_lock.ts";
import type { RepositoryFile } from "./api.ts";
import { sizeOf } from "./cache.ts";
import { Digester, digestName, fileDigest } from "./digests.ts";

/** Suffix of partial files; huggingface_hub uses the same names and contents. */
const INCOMPLETE = ".incomplete";
/** Downloads of a file with a wrong digest: bytes from an earlier run may be damaged. */
const ATTEMPTS = 2;
const READ_BYTES = 1 << 20;
/** Largest file whose digest is checked again, which takes little time. */
const READ_AGAIN_BYTES = 64 << 20;

/** Fetches a file's bytes from an offset on. */
export type Fetch = (from: number) => AsyncIterable<Uint8Array>;

export interface BlobOptions {
  /** Lock file held by the process that writes the blob. */
  readonly lock: string;
  readonly signal?: AbortSignal;
  /** Called with the number of the file's bytes on the disk. */
  readonly onBytes?: (done: number) => void;
  /** Called if another process is downloading the same file. */
  readonly onWait?: () => void;
  /** Checks an existing file; {@linkcode isWhole} if absent. */
  readonly isWhole?: (path: string, file: RepositoryFile) => boolean | Promise<boolean>;
}

function attempt<T>(what: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new StorageError(`Cannot ${what} ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Whether a file exists and is complete: checks its size, and its digest if it is not large.
 *
 * @throws {StorageError} if it cannot be read
 */
export function isWhole(path: string, { sizeBytes, digest }: RepositoryFile): boolean {
  if (sizeOf(path) !== sizeBytes) return false;
  return sizeBytes > READ_AGAIN_BYTES || fileDigest(path, digest.kind) === digest.hex;
}

/** Bytes of an incomplete file from an earlier run. */
export function partialBytes(path: string, sizeBytes: number): number {
  try {
    const { size } = Deno.statSync(path + INCOMPLETE);
    return size > sizeBytes ? 0 : size;
  } catch {
    return 0;
  }
}

/**
 * Downloads a file to the disk, complete and verified, or not at all. A damaged existing file is
 * replaced. After a failure the partial file stays beside it for the next call.
 *
 * @param path its place
 * @throws {BadInputError} if the content has another digest
 * @throws {StorageError} naming the path
 * @throws what `fetch` throws
 */
export async function getBlob(
  path: string,
  file: RepositoryFile,
  fetch: Fetch,
  options: BlobOptions,
): Promise<void> {
  const isThere = options.isWhole ?? isWhole;
  if (await isThere(path, file)) return;
  using _lock = await waitForLock(options.lock, options);
  if (await isThere(path, file)) return; // downloaded by the process that had the lock
  makeDirectory(dirname(path));
  const partial = path + INCOMPLETE;
  for (let attempts = 1;; attempts++) {
    const found = await fill(partial, file, fetch, options);
    if (found === file.digest.hex) break;
    attempt("remove", partial, () => Deno.removeSync(partial));
    if (attempts < ATTEMPTS) continue;
    throw new BadInputError(
      `Refused "${file.path}": its ${
        digestName(file.digest)
      } must be ${file.digest.hex}, as the hub ` +
        `says: current value is ${found}; nothing of it was kept: try again, or inform the hub's operator`,
    );
  }
  attempt("rename to", path, () => Deno.renameSync(partial, path));
  syncDirectory(dirname(path));
}

/**
 * Fetches the missing bytes of a partial file and puts them on the disk; returns the digest of the whole
 * file.
 */
async function fill(
  path: string,
  { digest, sizeBytes }: RepositoryFile,
  fetch: Fetch,
  { signal, onBytes }: BlobOptions,
): Promise<string> {
  using file = attempt(
    "open",
    path,
    () => Deno.openSync(path, { read: true, write: true, create: true }),
  );
  const hash = new Digester(digest.kind, sizeBytes);
  let done = 0;
  let there = attempt("look at", path, () => file.statSync().size);
  if (there > sizeBytes) {
    attempt("write", path, () => file.truncateSync(0));
    there = 0;
  }
  const buffer = new Uint8Array(READ_BYTES);
  while (done < there) {
    const n = attempt("read", path, () => file.readSync(buffer));
    if (n === null) break;
    hash.update(buffer.subarray(0, n));
    done += n;
    signal?.throwIfAborted();
  }
  onBytes?.(done);
  for await (const chunk of fetch(done)) {
    attempt("write", path, () => {
      for (let at = 0; at < chunk.length;) at += file.writeSync(chunk.subarray(at));
    });
    hash.update(chunk);
    done += chunk.length;
    onBytes?.(done);
  }
  attempt("sync", path, () => file.syncSync());
  return hash.hex();
}
