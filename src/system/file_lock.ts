/**
 * Exclusive and shared locks by `flock`: the kernel releases them when the process ends, and Python's
 * filelock, which Hugging Face's tools use, takes the same ones.
 */
import { dirname } from "@std/path";
import { StorageError } from "../errors.ts";
import { tryLockPath } from "./claim.ts";

/** Time between two tries: waiting must stay interruptible, which a blocking call is not. */
const POLL_MS = 100;

/** Options of waiting for a lock. */
export interface WaitOptions {
  readonly signal?: AbortSignal;
  /** Called once if the lock is taken. */
  readonly onWait?: () => void;
}

/**
 * Locks a file exclusively, creating it if it is missing.
 *
 * @returns the lock, released on disposal
 * @throws {StorageError} if the file cannot be made
 * @throws the reason of the signal
 */
export async function waitForLock(path: string, options: WaitOptions = {}): Promise<Disposable> {
  let waited = false;
  while (true) {
    options.signal?.throwIfAborted();
    const lock = tryLock(path);
    if (lock !== undefined) return lock;
    if (!waited) options.onWait?.();
    waited = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * Locks a file without waiting.
 *
 * @returns `undefined` if another process has it
 * @throws {StorageError} if the file cannot be made
 */
export function tryLock(path: string): Disposable | undefined {
  let file: Deno.FsFile;
  try {
    Deno.mkdirSync(dirname(path), { recursive: true });
    file = Deno.openSync(path, { read: true, write: true, create: true });
  } catch (error) {
    throw new StorageError(`Cannot lock ${path}: ${(error as Error).message}`, { cause: error });
  }
  const lock = tryLockPath(path);
  if (typeof lock !== "string") {
    file.close();
    return lock;
  }
  // A file system without locks: files written there are renamed into place anyway.
  if (lock === "impossible" && isStill(path, file)) return file;
  file.close();
  return undefined;
}

function isStill(path: string, file: Deno.FsFile): boolean {
  try {
    return Deno.statSync(path).ino === file.statSync().ino;
  } catch {
    return false;
  }
}

/**
 * Takes a shared lock on a folder: no process can claim it ({@linkcode claimDirectory}) until all
 * readers are gone.
 *
 * @returns `undefined` if a process has claimed it, it is gone, or the file system has no locks
 */
export function shareDirectory(path: string): Disposable | undefined {
  const lock = tryLockPath(path, false);
  return typeof lock === "string" ? undefined : lock;
}
