/** Folders that a process keeps for itself: others see so, until it ends in whatever way. */

/**
 * Claims a folder by locking it (`flock`): the kernel lets go of it with the process, a killed one
 * included, so that no process number has to be looked up that may be another's by now.
 *
 * @returns the claim; `undefined` where another process has it, the folder is gone, or the file
 *   system has no locks
 */
export function claimDirectory(path: string): Disposable | undefined {
  let directory: Deno.FsFile | undefined;
  try {
    directory = Deno.openSync(path, { read: true });
    // Whoever had it may have removed or moved it before letting go.
    const same = (): boolean => Deno.statSync(path).ino === directory!.statSync().ino;
    if (directory.tryLockSync(true) && same()) return directory;
  } catch {
    // gone, or cannot be locked: not claimed
  }
  directory?.close();
  return undefined;
}
