/**
 * Locks that processes wait for or share, by `flock`: the kernel lets go of them with the process,
 * and Python's filelock, which Hugging Face's tools use, takes the same.
 */
import { dirname } from "@std/path";
import { StorageError } from "../errors.ts";
import { tryLockPath } from "./claim.ts";

/** Time between two tries: waiting must stay interruptible, which a blocking call is not. */
const POLL_MS = 100;

/** How a lock is waited for. */
export interface WaitOptions {
  readonly signal?: AbortSignal;
  /** Called once, when the lock is found taken. */
  readonly onWait?: () => void;
}

/**
 * Takes a lock file for this process alone, making it where it is missing.
 *
 * @returns the lock, let go on disposal
 * @throws {StorageError} where the file cannot be made
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
 * Takes a lock file at once.
 *
 * @returns `undefined` where another process has it
 * @throws {StorageError} where the file cannot be made
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
  // A file system without locks: what is written there is renamed into place anyway.
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
 * Shares a folder with other readers: nobody can claim it ({@linkcode claimDirectory}) until all of
 * them are gone.
 *
 * @returns `undefined` where somebody has claimed it, it is gone, or the file system has no locks
 */
export function shareDirectory(path: string): Disposable | undefined {
  const lock = tryLockPath(path, false);
  return typeof lock === "string" ? undefined : lock;
}
