/** A folder that is written under another name and appears whole or not at all. */
import { basename, dirname, join, resolve } from "@std/path";
import { StorageError, UsageError } from "../errors.ts";
import { exists } from "../system/durable_files.ts";

/** Names that begin with this are unfinished; a killed run may leave one behind. */
const UNFINISHED = ".unfinished-";

function attempt<T>(what: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof UsageError || error instanceof StorageError) throw error;
    throw new StorageError(`Cannot ${what} ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** A file of a staged folder, written at any place. */
export interface StagedFile extends Disposable {
  write(offset: number, bytes: Uint8Array): void;
}

/** An unfinished folder beside the one it will become. Disposing of it removes what was not committed. */
export class StagedDirectory implements Disposable {
  /** Where the files are until {@linkcode commit}. */
  readonly path: string;
  readonly #target: string;
  readonly #names: string[] = [];
  #committed = false;

  /**
   * @param target path of the folder to be
   * @param variant tells several candidates for one folder apart
   * @throws {StorageError} naming the path
   */
  constructor(target: string, variant = "") {
    this.#target = resolve(target);
    const suffix = variant === "" ? "" : `-${variant}`;
    this.path = join(dirname(this.#target), `${UNFINISHED}${basename(this.#target)}${suffix}`);
    attempt("make the folder", this.path, () => {
      removeIfThere(this.path);
      Deno.mkdirSync(this.path, { recursive: true });
    });
  }

  /** Copies a file in. */
  copy(from: string, name: string): void {
    const to = this.#add(name);
    attempt("write", to, () => {
      Deno.copyFileSync(from, to);
      // Copies inherit the mode; a read-only base must not make a folder that cannot be finished.
      Deno.chmodSync(to, 0o644);
    });
  }

  /** Writes a file of chunks in order. */
  write(name: string, chunks: readonly Uint8Array[]): void {
    using file = this.open(name);
    let offset = 0;
    for (const chunk of chunks) {
      file.write(offset, chunk);
      offset += chunk.byteLength;
    }
  }

  /** Writes a file, also over one that is there. */
  replace(name: string, content: Uint8Array): void {
    const path = this.#add(name);
    attempt("write", path, () => Deno.writeFileSync(path, content));
  }

  /** A text file's content; `undefined` where there is none of the name. */
  readText(name: string): string | undefined {
    if (!this.#names.includes(name)) return undefined;
    const path = join(this.path, name);
    return attempt("read", path, () => Deno.readTextFileSync(path));
  }

  /** Opens a file for writing at any offset, keeping what {@linkcode copy} put there. */
  open(name: string): StagedFile {
    const path = this.#add(name);
    const file = attempt("write", path, () => Deno.openSync(path, { write: true, create: true }));
    return {
      write(offset, bytes) {
        attempt("write", path, () => {
          file.seekSync(offset, Deno.SeekMode.Start);
          let done = 0;
          while (done < bytes.byteLength) done += file.writeSync(bytes.subarray(done));
        });
      },
      [Symbol.dispose]: () => file.close(),
    };
  }

  /**
   * Puts everything on the disk and the folder in its place.
   *
   * @param force replaces a folder that is there; otherwise that is refused
   * @throws {UsageError} where the folder exists and `force` is not given
   */
  commit(force = false): void {
    checkTarget(this.#target, force);
    for (const name of this.#names) sync(join(this.path, name), { write: true });
    sync(this.path, { read: true });
    attempt("rename to", this.#target, () => {
      // rename(2) does not replace a folder that has content.
      const leaving = `${this.path}-replaced`;
      removeIfThere(leaving);
      if (exists(this.#target)) Deno.renameSync(this.#target, leaving);
      Deno.renameSync(this.path, this.#target);
      removeIfThere(leaving);
    });
    sync(dirname(this.#target), { read: true });
    this.#committed = true;
  }

  [Symbol.dispose](): void {
    if (!this.#committed) removeIfThere(this.path);
  }

  #add(name: string): string {
    if (name !== basename(name) || name === "" || name === "." || name === "..") {
      // Data files in subfolders keep their folder; everything else is a plain name.
      attempt(
        "make the folder",
        this.path,
        () => Deno.mkdirSync(dirname(join(this.path, name)), { recursive: true }),
      );
    }
    if (!this.#names.includes(name)) this.#names.push(name);
    return join(this.path, name);
  }
}

/**
 * Refuses a folder that exists, before work is spent on it. `force` replaces models only: a folder
 * named by mistake may hold an adapter, data, or all that a user has.
 *
 * @throws {UsageError} naming the path
 */
export function checkTarget(target: string, force: boolean): void {
  if (!exists(target)) return;
  if (!force) {
    throw new UsageError(`Cannot write ${target}: it exists; choose another path or add --force`);
  }
  if (isModelOrEmpty(target)) return;
  throw new UsageError(
    `Cannot write ${target}: --force replaces model folders only, and this is none; choose another path`,
  );
}

/** Whether a path is a folder with an `.onnx` file in it and no adapter, or with nothing. */
function isModelOrEmpty(path: string): boolean {
  if (!attempt("look at", path, () => Deno.statSync(path)).isDirectory) return false;
  const names = attempt("look at", path, () => Array.from(Deno.readDirSync(path), (e) => e.name));
  const isAdapter = names.includes("adapter_config.json");
  return names.length === 0 || (!isAdapter && names.some((name) => name.endsWith(".onnx")));
}

function removeIfThere(path: string): void {
  if (exists(path)) Deno.removeSync(path, { recursive: true });
}

function sync(path: string, how: Deno.OpenOptions): void {
  attempt("sync", path, () => {
    using file = Deno.openSync(path, how);
    file.syncSync();
  });
}
