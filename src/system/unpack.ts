/** Files from inside the binary as files on the disk, where the system's own loader can open them. */
import { dirname, join } from "@std/path";
import { readKernelFile } from "./kernel_files.ts";

/** What is to be unpacked. */
export interface Packed {
  /** File name of the copy. */
  readonly name: string;
  /** Digest of the content; part of the copy's path, so that releases lie side by side. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Reads the content; called only where there is no copy yet. */
  read(): Uint8Array;
}

const UNFINISHED = ".unfinished-";

/** Where the copy of something lies under a cache folder. */
export function unpackedPath(cache: string, { name, sha256 }: Packed): string {
  return join(cache, "unpacked", sha256.slice(0, 32), name);
}

/**
 * The path of a copy in `cache`, made where there is none. Processes that start at once wait for
 * the first one's copy; it appears whole or not at all, also after a kill or a power loss.
 *
 * @throws {Error} the system's reason: no room, no permission, no such disk
 */
export function unpack(cache: string, packed: Packed): string {
  const path = unpackedPath(cache, packed);
  if (isCopy(path, packed)) return path;
  const folder = dirname(path);
  Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  using directory = Deno.openSync(folder, { read: true });
  lock(directory);
  if (isCopy(path, packed)) return path; // another process's, meanwhile
  // Nobody else writes here while the lock is held: these are a killed process's.
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
  directory.syncSync();
  return path;
}

/** Some file systems have no locks: two processes may then both write, each its own file. */
function lock(directory: Deno.FsFile): void {
  try {
    directory.lockSync(true);
  } catch {
    // goes on without
  }
}

/**
 * Whether a copy is there that can be trusted: whole, and written by this user or by root. What a
 * folder that others can write to holds is not loaded.
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

/** The user that this process acts as. */
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

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // was never made
  }
}
