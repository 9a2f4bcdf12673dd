/** Unpacks files of the binary to the disk, where the system's loader can open them. */
import { dirname, join } from "@std/path";
import { claimDirectory, tryLockPath } from "./claim.ts";
import { readKernelFile } from "./kernel_files.ts";

/** A file to unpack. */
export interface Packed {
  /** File name of the copy. */
  readonly name: string;
  /** Digest of the content; part of the copy's path, so that several releases can be stored. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Reads the content; called only if there is no copy yet. */
  read(): Uint8Array;
}

/** A copy that no other process removes until this object is disposed of or the process ends. */
export interface Unpacked extends Disposable {
  readonly path: string;
}

const UNFINISHED = ".unfinished-";
/** A folder's name: part of a digest. */
const FOLDER = /^[0-9a-f]{32}$/;

/** Path of a file's copy under a cache folder. */
export function unpackedPath(cache: string, { name, sha256 }: Packed): string {
  return join(cache, "unpacked", sha256.slice(0, 32), name);
}

/**
 * Returns a copy in `cache`, created if there is none. Processes that start at the same time wait for
 * the first one's copy; it appears complete or not at all, also after a kill or a power loss. Before a
 * copy is created, unused copies of other releases are removed, so that updates do not fill the disk.
 *
 * Users of a copy hold a shared lock on the file; its creator locks the folder; removal needs both locks
 * exclusively.
 *
 * @throws {Error} the system's reason: no room, no permission, no such disk
 */
export function unpack(cache: string, packed: Packed): Unpacked {
  const path = unpackedPath(cache, packed);
  const folder = dirname(path);
  while (true) {
    const found = useCopy(path, packed);
    if (found !== undefined) return found;
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    using directory = openIfThere(folder);
    if (directory === undefined) continue; // another release has just removed it
    lock(directory);
    if (!isSame(directory, folder)) continue; // it was removed before it was locked
    const made = useCopy(path, packed); // another process's, meanwhile
    if (made !== undefined) return made;
    removeUnused(dirname(folder), packed);
    makeCopy(path, packed);
    directory.syncSync();
    const own = useCopy(path, packed);
    if (own === undefined) throw new Error(`${path} was changed as it was written`);
    return own;
  }
}

/** Writes a copy; no other process does while its folder is locked. */
function makeCopy(path: string, packed: Packed): void {
  const folder = dirname(path);
  // Files of a killed process.
  for (const { name } of Deno.readDirSync(folder)) {
    if (name.startsWith(UNFINISHED)) Deno.removeSync(join(folder, name));
  }
  const unfinished = join(folder, `${UNFINISHED}${crypto.randomUUID()}`);
  try {
    writeSynced(unfinished, packed.read());
    Deno.renameSync(unfinished, path);
  } catch (error) {
    removeIfThere(unfinished);
    throw error;
  }
}

/** The existing copy, protected from removal; `undefined` if there is none that can be trusted. */
function useCopy(path: string, packed: Packed): Unpacked | undefined {
  const use = tryLockPath(path, false);
  if (use === "taken") return undefined; // it is being removed
  const release = () => typeof use === "string" ? undefined : use[Symbol.dispose]();
  if (isCopy(path, packed)) return { path, [Symbol.dispose]: release };
  release();
  return undefined;
}

/** Removes the copies of other releases that no process uses or creates. */
function removeUnused(unpacked: string, { name, sha256 }: Packed): void {
  for (const { name: digest, isDirectory } of Deno.readDirSync(unpacked)) {
    if (!isDirectory || !FOLDER.test(digest) || sha256.startsWith(digest)) continue;
    const folder = join(unpacked, digest);
    try {
      using making = claimDirectory(folder);
      if (making === undefined) continue;
      const path = join(folder, name);
      using using_ = claimDirectory(path);
      if (using_ === undefined && isThere(path)) continue;
      for (const { name: file } of Deno.readDirSync(folder)) {
        if (file === name || file.startsWith(UNFINISHED)) Deno.removeSync(join(folder, file));
      }
      Deno.removeSync(folder);
    } catch {
      // another user's, or it contains files that are not graft's
    }
  }
}

function openIfThere(folder: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(folder, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Locks a folder. Some file systems have no locks: two processes may then both write, each its own file. */
function lock(directory: Deno.FsFile): void {
  try {
    directory.lockSync(true);
  } catch {
    // continues without a lock
  }
}

/**
 * Whether there is a copy that can be trusted: complete, and written by this user or by root. Files in a
 * folder that others can write to are not loaded.
 */
function isCopy(path: string, { sizeBytes }: Packed): boolean {
  try {
    const { isFile, size, uid, mode } = Deno.lstatSync(path);
    const trusted = (uid === 0 || uid === userId()) && ((mode ?? 0) & 0o022) === 0;
    return isFile && size === sizeBytes && trusted;
  } catch {
    return false;
  }
}

/** The effective user of this process. */
function userId(): number | undefined {
  // "Uid:" real, effective, saved, file system's
  const [, effective] = /^Uid:\t\d+\t(\d+)/m.exec(readKernelFile("/proc/self/status") ?? "") ?? [];
  return effective === undefined ? undefined : Number(effective);
}

function writeSynced(path: string, content: Uint8Array): void {
  using file = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  let done = 0;
  while (done < content.length) done += file.writeSync(content.subarray(done));
  file.syncSync();
}

function isSame(directory: Deno.FsFile, path: string): boolean {
  try {
    return Deno.statSync(path).ino === directory.statSync().ino;
  } catch {
    return false;
  }
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // was never created
  }
}
