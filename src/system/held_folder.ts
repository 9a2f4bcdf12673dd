/**
 * A folder that is held open and accessed by relative names, for a folder of another user, who cannot
 * redirect the access: links are not followed, pipes and devices are not waited for, and root has only
 * the owner's rights in it.
 *
 * Files are written as in `durable_files.ts`: under another name, synced, renamed.
 */
import { concat } from "@std/bytes/concat";
import { join } from "@std/path";
import {
  closeFd,
  EEXIST,
  ENOENT,
  factsAt,
  type FileFacts,
  linkAt,
  lockFd,
  makeFolderAt,
  namesIn,
  openFolder,
  openFolderAt,
  readFd,
  readLinkAt,
  renameAt,
  syncFd,
  truncateFd,
  writeFd,
} from "../../ffi/libc_at.ts";
import { asFileUser } from "../../ffi/libc_file_user.ts";
import { StorageError } from "../errors.ts";
import { isError, KIND_WORDS, kindAt, removeTree, withFile } from "./open_names.ts";

/** Prefix of files and folders that are unfinished or being removed. */
const UNFINISHED = ".unfinished-";
const CHUNK_BYTES = 65_536;

/** User whose rights apply; `undefined` for this process's own. */
type Owner = { readonly uid: number; readonly gid: number } | undefined;

export class HeldFolder implements Disposable {
  #open = true;

  private constructor(readonly path: string, readonly fd: number, readonly owner: Owner) {}

  /**
   * Opens a folder by its path; links in the path are followed.
   *
   * @returns `undefined` if there is none
   * @throws {StorageError} if it cannot be opened
   */
  static open(path: string): HeldFolder | undefined {
    try {
      const fd = openFolder(path);
      const { uid, gid } = factsAt(fd, "");
      const foreign = Deno.uid() === 0 && uid !== 0;
      return new HeldFolder(path, fd, foreign ? { uid, gid } : undefined);
    } catch (cause) {
      if (isError(cause, ENOENT)) return undefined;
      throw new StorageError(`Cannot open ${path}: ${(cause as Error).message}`, { cause });
    }
  }

  /** A folder in it by name; `undefined` if there is none. */
  folder(name: string): HeldFolder | undefined {
    const path = join(this.path, name);
    return this.#attempt("open", name, "folder", () => {
      if (kindAt(this.fd, name) === undefined) return undefined;
      return new HeldFolder(path, openFolderAt(this.fd, name), this.owner);
    });
  }

  /** Creates a folder, unless it exists. */
  makeFolder(name: string): void {
    this.#attempt("make the folder", name, "folder", () => {
      try {
        makeFolderAt(this.fd, name);
        syncFd(this.fd);
      } catch (error) {
        if (!isError(error, EEXIST)) throw error;
        closeFd(openFolderAt(this.fd, name));
      }
    });
  }

  /** Kind of the entry with a name; `undefined` if there is none. */
  kind(name: string): FileFacts["kind"] | undefined {
    return this.#attempt("look at", name, undefined, () => kindAt(this.fd, name));
  }

  names(): string[] {
    return this.#attempt("list", "", undefined, () => namesIn(this.fd));
  }

  /** Target of a link; `undefined` if there is no entry with the name. */
  readLink(name: string): string | undefined {
    return this.#attempt("read", name, "link", () => {
      const kind = kindAt(this.fd, name);
      return kind === undefined ? undefined : readLinkAt(this.fd, name);
    });
  }

  /**
   * A file's bytes; `undefined` if there is no entry with the name.
   *
   * @param mostBytes a larger file is refused
   */
  read(name: string, mostBytes: number): Uint8Array<ArrayBuffer> | undefined {
    return this.#attempt("read", name, "file", () => {
      if (kindAt(this.fd, name) === undefined) return undefined;
      return withFile(this.fd, name, "read", (fd) => {
        const parts: Uint8Array[] = [];
        let size = 0;
        while (true) {
          const chunk = new Uint8Array(CHUNK_BYTES);
          const count = readFd(fd, chunk);
          if (count === 0) return concat(parts);
          parts.push(chunk.subarray(0, count));
          size += count;
          if (size > mostBytes) throw new Error(`it has more than ${mostBytes} bytes`);
        }
      });
    });
  }

  /** Truncates a file at `end`, appends to it, and returns when it is on the disk. */
  append(name: string, end: number, content: Uint8Array<ArrayBuffer>): void {
    this.#attempt("write", name, "file", () => {
      const isNew = kindAt(this.fd, name) === undefined;
      withFile(this.fd, name, "write", (fd) => {
        truncateFd(fd, end);
        writeFd(fd, content, end);
        syncFd(fd);
      });
      if (isNew) syncFd(this.fd);
    });
  }

  /** Writes a file, atomically replacing any entry with the name. */
  replace(name: string, content: Uint8Array<ArrayBuffer>): void {
    this.#attempt("write", name, "file", () => {
      const unfinished = this.#freeName(name);
      withFile(this.fd, unfinished, "write", (fd) => {
        writeFd(fd, content, 0);
        syncFd(fd);
      });
      renameAt(this.fd, unfinished, this.fd, name);
      syncFd(this.fd);
    });
  }

  /** Changes a link's target atomically. */
  replaceLink(name: string, target: string): void {
    this.#attempt("link", name, "link", () => {
      const unfinished = this.#freeName(name);
      linkAt(target, this.fd, unfinished);
      renameAt(this.fd, unfinished, this.fd, name);
      syncFd(this.fd);
    });
  }

  /** Removes an entry, a folder with its contents; readers see all of it or nothing. */
  remove(name: string): void {
    this.#attempt("remove", name, undefined, () => {
      if (kindAt(this.fd, name) === undefined) return;
      const leaving = this.#freeName(`${name}-removed`);
      renameAt(this.fd, name, this.fd, leaving);
      // Before its contents are removed: otherwise the removals could reach the disk before the new
      // name.
      syncFd(this.fd);
      removeTree(this.fd, leaving);
    });
  }

  /** Removes the unfinished files of killed writers. */
  removeLeftovers(): void {
    for (const name of this.names().filter((name) => name.startsWith(UNFINISHED))) {
      this.#attempt("remove", name, undefined, () => removeTree(this.fd, name));
    }
  }

  /** Locks the folder exclusively until this object is disposed of; returns whether it could. */
  tryLock(): boolean {
    return lockFd(this.fd);
  }

  [Symbol.dispose](): void {
    // Only once: the descriptor's number may be reused afterwards.
    if (this.#open) closeFd(this.fd);
    this.#open = false;
  }

  /** An unused name for an unfinished entry, derived from its final name. */
  #freeName(name: string): string {
    const unfinished = UNFINISHED + name;
    if (kindAt(this.fd, unfinished) !== undefined) removeTree(this.fd, unfinished);
    return unfinished;
  }

  /** @param wanted expected kind of the entry: the message names the actual one */
  #attempt<T>(
    what: string,
    name: string,
    wanted: FileFacts["kind"] | undefined,
    action: () => T,
  ): T {
    const path = join(this.path, name);
    try {
      return this.owner === undefined
        ? action()
        : asFileUser(this.owner.uid, this.owner.gid, action);
    } catch (cause) {
      const why = (cause as Error).message;
      const found = wanted === undefined ? undefined : this.#found(name);
      const instead = found === undefined || found === wanted || wanted === undefined
        ? why
        : `it is ${KIND_WORDS[found]} where the service keeps ${KIND_WORDS[wanted]}: nothing was ` +
          "changed; look who put it there, then remove it";
      throw new StorageError(`Cannot ${what} ${path}: ${instead}`, { cause });
    }
  }

  #found(name: string): FileFacts["kind"] | undefined {
    try {
      return kindAt(this.fd, name);
    } catch {
      return undefined; // the first failure is reported
    }
  }
}
