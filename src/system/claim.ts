/**
 * Files and folders that a process keeps for itself: others see so, until it ends in whatever way.
 *
 * Locks are `flock`s through the C library: of Deno's releases that graft is compiled with not all
 * can try one.
 */
import { tryFlock } from "../../ffi/libc_files.ts";

/**
 * Tries to lock a file or folder, for this process alone or shared with other readers.
 *
 * @returns the lock; "taken" where another has it, "impossible" where the path is gone or the file
 *   system has no locks
 */
export function tryLockPath(path: string, exclusive = true): Disposable | "taken" | "impossible" {
  const before = inodeOf(path);
  const lock = tryFlock(path, exclusive);
  if (typeof lock === "string") return lock;
  // Whoever had it may have removed or moved it before letting go.
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
 * Claims a folder by locking it: the kernel lets go of it with the process, a killed one included,
 * so that no process number has to be looked up that may be another's by now.
 *
 * @returns the claim; `undefined` where another process has it, the folder is gone, or the file
 *   system has no locks
 */
export function claimDirectory(path: string): Disposable | undefined {
  const lock = tryLockPath(path);
  return typeof lock === "string" ? undefined : lock;
}
