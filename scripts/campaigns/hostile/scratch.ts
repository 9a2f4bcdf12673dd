/** Folders in memory for the files that probes read. */

const PLACE = "/dev/shm";
const nameOf = (pid: number) => `graft-hostile-${pid}`;

/** This process's folder, which is removed as the process ends. */
export function scratchFolder(): string {
  const path = `${PLACE}/${nameOf(Deno.pid)}`;
  Deno.mkdirSync(path, { recursive: true });
  globalThis.addEventListener("unload", () => removeScratch(Deno.pid));
  return path;
}

/** Removes what a process that was killed has left. */
export function removeScratch(pid: number): void {
  try {
    Deno.removeSync(`${PLACE}/${nameOf(pid)}`, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
