/**
 * Opens files that users name, or files beside those. Other than regular files are refused before they
 * are opened: opening a pipe waits for its other end, and no signal ends that; a device may have no end.
 */
import { BadInputError, StorageError } from "../errors.ts";

/**
 * Size of a regular file in bytes, without opening it.
 *
 * @returns `undefined` if there is no such file
 * @throws {BadInputError} for a folder, a pipe, a socket or a device
 * @throws {StorageError} if it cannot be examined, such as a link to itself
 */
export function regularFileSize(path: string): number | undefined {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  if (info.isFile) return info.size;
  throw new BadInputError(`Cannot read ${path}: it is not a regular file`);
}

/**
 * Opens a regular file for reading.
 *
 * @throws {BadInputError} for a folder, a pipe, a socket or a device
 * @throws {StorageError} if there is none of the name, or it cannot be opened
 */
export function openRegularFile(path: string): Deno.FsFile {
  regularFileSize(path);
  try {
    return Deno.openSync(path, { read: true });
  } catch (error) {
    throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}
