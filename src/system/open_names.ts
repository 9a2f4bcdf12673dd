/** Examines, opens and removes entries of an open folder by name; links are never followed. */
import {
  closeFd,
  ELOOP,
  ENOENT,
  ENOTDIR,
  factsAt,
  type FileFacts,
  namesIn,
  openFileAt,
  openFolderAt,
  SystemCallError,
  unlinkAt,
} from "../../ffi/libc_at.ts";

export const KIND_WORDS = {
  file: "a file",
  folder: "a folder",
  link: "a symbolic link",
  pipe: "a pipe",
  socket: "a socket",
  device: "a device",
} as const;

/** Whether a call failed with this error number. */
export function isError(error: unknown, errno: number): boolean {
  return error instanceof SystemCallError && error.errno === errno;
}

/** Kind of the entry with a name; `undefined` if there is none. */
export function kindAt(folder: number, name: string): FileFacts["kind"] | undefined {
  try {
    return factsAt(folder, name).kind;
  } catch (error) {
    if (isError(error, ENOENT)) return undefined;
    throw error;
  }
}

/**
 * Calls a function with an open regular file.
 *
 * @throws {Error} if it is not a regular file, or is to be written and has other names
 */
export function withFile<T>(
  folder: number,
  name: string,
  mode: "read" | "write",
  action: (fd: number) => T,
): T {
  const fd = openFileAt(folder, name, mode);
  try {
    const { kind, links } = factsAt(fd, "");
    if (kind !== "file") throw new Error(`it is ${KIND_WORDS[kind]}`);
    // Another hard link to the file, which may be anywhere, would be written as well.
    if (mode === "write" && links > 1) throw new Error("it has another name: a hard link");
    return action(fd);
  } finally {
    closeFd(fd);
  }
}

/** Removes an entry, a folder with its contents; a link itself, never its target. */
export function removeTree(folder: number, name: string): void {
  let inner: number;
  try {
    inner = openFolderAt(folder, name);
  } catch (error) {
    if (!isError(error, ENOTDIR) && !isError(error, ELOOP)) throw error;
    return unlinkAt(folder, name, false);
  }
  try {
    for (const child of namesIn(inner)) removeTree(inner, child);
  } finally {
    closeFd(inner);
  }
  unlinkAt(folder, name, true);
}
