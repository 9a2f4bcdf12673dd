/** Free space on the disk. */
import { statfsSync } from "node:fs";

/** Bytes that this process may still write on the disk of a path; `undefined` if unknown. */
export function freeDiskBytes(path: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
