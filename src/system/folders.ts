/** Properties of folders. */
import { join } from "@std/path";

/** The folder itself, or the nearest one above it that exists; `undefined` if none does. */
export function nearestFolder(path: string): string | undefined {
  let folder = path;
  while (!isFolder(folder)) {
    const above = join(folder, "..");
    if (above === folder) return undefined;
    folder = above;
  }
  return folder;
}

/** Whether files can be created in a folder, or in its nearest existing parent. */
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

/** Whether a path is a folder, or a link to one. */
export function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Bytes of all files under a folder; `undefined` if there is none. */
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
    // Files of other users, or removed meanwhile by another process, are not counted.
  }
  return sum;
}
