/**
 * Exclusive use of files and folders by a process, visible to others, until the process ends in any way.
 *
 * Locks are `flock`s through the C library, because not all supported releases of Deno have a
 * non-blocking one.
 */
import { tryFlock } from "../../ffi/libc_files.ts";

/**
 * Tries to lock a file or folder, exclusively or shared with other readers.
 *
 * @returns the lock; "taken" if another process has it, "impossible" if the path is gone or the file
 *   system has no locks
 */
export function tryLockPath(path: string, exclusive = true): Disposable | "taken" | "impossible" {
  const before = inodeOf(path);
  const lock = tryFlock(path, exclusive);
  if (typeof lock === "string") return lock;
  // The previous holder may have removed or moved it before releasing the lock.
  if (before !== undefined && inodeOf(path) === before) return lock;
  lock[Symbol.dispose]();
  return "impossible";
}

function inodeOf(path: string): number | null | undefined {
  try {
    return Deno.statSync(path).ino;
  } catch {
    return undefined;
  }
}

/**
 * Claims a folder by locking it: the kernel releases the lock when the process ends, even if killed, so
 * that there is no need to look up a process number, which may have been reused.
 *
 * @returns the claim; `undefined` if another process has it, the folder is gone, or the file
 *   system has no locks
 */
export function claimDirectory(path: string): Disposable | undefined {
  const lock = tryLockPath(path);
  return typeof lock === "string" ? undefined : lock;
}
