/** What can be done with a folder. */
import { join } from "@std/path";

/** The folder itself, or the nearest one above it that exists; `undefined` where none does. */
export function nearestFolder(path: string): string | undefined {
  let folder = path;
  while (!isFolder(folder)) {
    const above = join(folder, "..");
    if (above === folder) return undefined;
    folder = above;
  }
  return folder;
}

/** Whether files can be made in a folder, or in the nearest folder above it that exists. */
export function isWritable(path: string): boolean {
  const folder = nearestFolder(path);
  if (folder === undefined) return false;
  const probe = join(folder, `.graft-probe-${crypto.randomUUID()}`);
  try {
    Deno.writeFileSync(probe, new Uint8Array(1), { createNew: true });
    Deno.removeSync(probe);
    return true;
  } catch {
    return false;
  }
}

/** Whether a path leads to a folder. */
export function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Bytes of all files under a folder; `undefined` where there is none. */
export function bytesUnder(path: string): number | undefined {
  if (!isFolder(path)) return undefined;
  let sum = 0;
  try {
    for (const { name, isDirectory, isFile } of Deno.readDirSync(path)) {
      const entry = join(path, name);
      if (isDirectory) sum += bytesUnder(entry) ?? 0;
      else if (isFile) sum += Deno.statSync(entry).size;
    }
  } catch {
    // What another user keeps there, or another process removes meanwhile, is not counted.
  }
  return sum;
}
