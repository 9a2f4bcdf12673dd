/** Room on the disk. */
import { statfsSync } from "node:fs";

/** Bytes that this process may still write where a path lies; `undefined` where the system does not say. */
export function freeDiskBytes(path: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
