/** What has a name in an open folder, links never followed: looked at, opened, removed. */
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

/** Whether a call failed for this reason. */
export function isError(error: unknown, errno: number): boolean {
  return error instanceof SystemCallError && error.errno === errno;
}

/** What has a name; `undefined` where nothing has. */
export function kindAt(folder: number, name: string): FileFacts["kind"] | undefined {
  try {
    return factsAt(folder, name).kind;
  } catch (error) {
    if (isError(error, ENOENT)) return undefined;
    throw error;
  }
}

/**
 * Does something with a regular file that is open meanwhile.
 *
 * @throws {Error} for what is none, and for one to write that has other names
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
    // Another name of the file, which may lie anywhere, would be written as well.
    if (mode === "write" && links > 1) throw new Error("it has another name: a hard link");
    return action(fd);
  } finally {
    closeFd(fd);
  }
}

/** Removes a name, and of a folder all that is in it; a link itself, never where it leads. */
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
