/** Work that ends at a chosen call, in this process: quicker than kills, and all points can be had. */

/** Calls that change what is on the disk. */
const CHANGES = [
  "copyFileSync",
  "makeTempDirSync",
  "mkdirSync",
  "openSync",
  "removeSync",
  "renameSync",
  "symlinkSync",
  "writeFileSync",
] as const;

type Call = (...args: unknown[]) => unknown;

/** Opening a file changes the disk only where it may make or cut it. */
function changes(name: string, args: readonly unknown[]): boolean {
  if (name !== "openSync") return true;
  const { create, truncate } = (args[1] ?? {}) as Deno.OpenOptions;
  return create === true || truncate === true;
}

/**
 * Does work until it is about to change the disk for the n-th time. Like a killed process it changes
 * nothing any more from there on: that call fails, and all later ones do. Locks are let go, as the
 * kernel would.
 *
 * @param n counted from 1
 * @returns whether it came so far; the work is done where not
 */
export async function endedBefore(n: number, work: () => Promise<unknown>): Promise<boolean> {
  let count = 0;
  const countCall = () => {
    if (++count >= n) throw new Error("ended here");
  };
  const target = Deno as unknown as Record<string, Call>;
  const before = new Map<string, Call>(CHANGES.map((name) => [name, target[name]]));
  const file = Deno.FsFile.prototype;
  const { writeSync } = file;
  for (const [name, call] of before) {
    target[name] = (...args) => {
      if (changes(name, args)) countCall();
      return call(...args);
    };
  }
  file.writeSync = function (bytes) {
    countCall();
    return writeSync.call(this, bytes);
  };
  try {
    await work();
  } catch (error) {
    if (count < n) throw error;
  } finally {
    for (const [name, call] of before) target[name] = call;
    file.writeSync = writeSync;
  }
  return count >= n;
}
