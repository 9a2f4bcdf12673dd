/**
 * A folder that is held open and worked in by names, for one that belongs to another user: what that
 * user puts there leads nowhere. Links are not followed, pipes and devices not waited for, and root
 * has the owner's rights in it and no more.
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

/** Names that begin with this are unfinished or on their way out. */
const UNFINISHED = ".unfinished-";
const CHUNK_BYTES = 65_536;

/** Whose rights count; `undefined` for this process's own. */
type Owner = { readonly uid: number; readonly gid: number } | undefined;

export class HeldFolder implements Disposable {
  #open = true;

  private constructor(readonly path: string, readonly fd: number, readonly owner: Owner) {}

  /**
   * Opens a folder by its path, on which links are followed.
   *
   * @returns `undefined` where there is none
   * @throws {StorageError} where it cannot be opened
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

  /** The folder of a name in it; `undefined` where there is none. */
  folder(name: string): HeldFolder | undefined {
    const path = join(this.path, name);
    return this.#attempt("open", name, "folder", () => {
      if (kindAt(this.fd, name) === undefined) return undefined;
      return new HeldFolder(path, openFolderAt(this.fd, name), this.owner);
    });
  }

  /** Makes a folder, unless there is one. */
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

  /** What has a name; `undefined` where nothing has. */
  kind(name: string): FileFacts["kind"] | undefined {
    return this.#attempt("look at", name, undefined, () => kindAt(this.fd, name));
  }

  names(): string[] {
    return this.#attempt("list", "", undefined, () => namesIn(this.fd));
  }

  /** Where the link of a name leads; `undefined` where nothing has the name. */
  readLink(name: string): string | undefined {
    return this.#attempt("read", name, "link", () => {
      const kind = kindAt(this.fd, name);
      return kind === undefined ? undefined : readLinkAt(this.fd, name);
    });
  }

  /**
   * A file's bytes; `undefined` where nothing has the name.
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

  /** Writes at the end of a file, cut at `end` before, and returns when it is on the disk. */
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

  /** Writes a file, or replaces what has the name, in one piece. */
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

  /** Makes a link lead elsewhere, in one piece. */
  replaceLink(name: string, target: string): void {
    this.#attempt("link", name, "link", () => {
      const unfinished = this.#freeName(name);
      linkAt(target, this.fd, unfinished);
      renameAt(this.fd, unfinished, this.fd, name);
      syncFd(this.fd);
    });
  }

  /** Removes what has a name, a folder with all in it; whoever looks sees all of it or nothing. */
  remove(name: string): void {
    this.#attempt("remove", name, undefined, () => {
      if (kindAt(this.fd, name) === undefined) return;
      const leaving = this.#freeName(`${name}-removed`);
      renameAt(this.fd, name, this.fd, leaving);
      // Before anything in it goes: the disk may have the new name later than what is removed there.
      syncFd(this.fd);
      removeTree(this.fd, leaving);
    });
  }

  /** Removes what killed writers left. */
  removeLeftovers(): void {
    for (const name of this.names().filter((name) => name.startsWith(UNFINISHED))) {
      this.#attempt("remove", name, undefined, () => removeTree(this.fd, name));
    }
  }

  /** Locks the folder for this holder alone, until it is disposed of; whether it could. */
  tryLock(): boolean {
    return lockFd(this.fd);
  }

  [Symbol.dispose](): void {
    // Once: the number may be another file's afterwards.
    if (this.#open) closeFd(this.fd);
    this.#open = false;
  }

  /** A name beside another for what is unfinished, which nothing has. */
  #freeName(name: string): string {
    const unfinished = UNFINISHED + name;
    if (kindAt(this.fd, unfinished) !== undefined) removeTree(this.fd, unfinished);
    return unfinished;
  }

  /** @param wanted what is meant to have the name: the message says what has it instead */
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
      return undefined; // the first failure is told
    }
  }
}
