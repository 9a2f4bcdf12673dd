/** One file of a repository on the disk: partial until it is whole and verified. */
import { dirname } from "@std/path";
import { BadInputError, StorageError } from "../errors.ts";
import { makeDirectory, syncDirectory } from "../system/durable_files.ts";
import { waitForLock } from "../system/file_lock.ts";
import type { RepositoryFile } from "./api.ts";
import { sizeOf } from "./cache.ts";
import { Digester, digestName, fileDigest } from "./digests.ts";

/** Ends the names of partial files; huggingface_hub's are the same and hold the same. */
const INCOMPLETE = ".incomplete";
/** Times that a file is gotten whose digest is wrong: bytes that an earlier run left may be bad. */
const ATTEMPTS = 2;
const READ_BYTES = 1 << 20;
/** Files up to this size are read again to see whether they are whole: it takes no time. */
const READ_AGAIN_BYTES = 64 << 20;

/** Gives a file's bytes from an offset on. */
export type Fetch = (from: number) => AsyncIterable<Uint8Array>;

export interface BlobOptions {
  /** Lock file that whoever writes the blob holds. */
  readonly lock: string;
  readonly signal?: AbortSignal;
  /** Told how many of the file's bytes are there. */
  readonly onBytes?: (done: number) => void;
  /** Told that another process is getting the same file. */
  readonly onWait?: () => void;
  /** Whether the file in its place is the one; {@linkcode isWhole} if absent. */
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
 * Whether a file is in its place and the one: by its size, which a cut one has not, and where it is
 * not large by its digest, too.
 *
 * @throws {StorageError} where it cannot be read
 */
export function isWhole(path: string, { sizeBytes, digest }: RepositoryFile): boolean {
  if (sizeOf(path) !== sizeBytes) return false;
  return sizeBytes > READ_AGAIN_BYTES || fileDigest(path, digest.kind) === digest.hex;
}

/** How much of a file that is still to be gotten lies there from an earlier run. */
export function partialBytes(path: string, sizeBytes: number): number {
  try {
    const { size } = Deno.statSync(path + INCOMPLETE);
    return size > sizeBytes ? 0 : size;
  } catch {
    return 0;
  }
}

/**
 * Puts a file in its place and on the disk, whole and verified, or not at all. One that is there and
 * damaged is replaced. What came before a failure stays beside it for the next call.
 *
 * @param path its place
 * @throws {BadInputError} where the content has another digest
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
  if (await isThere(path, file)) return; // the process that had the lock has gotten it
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
        `says: current value is ${found}; nothing of it was kept: try again, or tell who runs the hub`,
    );
  }
  attempt("rename to", path, () => Deno.renameSync(partial, path));
  syncDirectory(dirname(path));
}

/** Fetches what is missing of a partial file and puts it on the disk; gives the whole's digest. */
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
