/** A folder that is written under another name and appears whole or not at all. */
import { basename, dirname, join, resolve } from "@std/path";
import { StorageError, UsageError } from "../errors.ts";
import { claimDirectory, tryLockPath } from "../system/claim.ts";
import { exists, makeDirectory, syncDirectory, syncFile } from "../system/durable_files.ts";
import { replacedPath, unfinishedPath } from "./leftovers.ts";

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

/**
 * An unfinished folder beside the one it will become. Disposing of it, or ending the process by
 * `Deno.exit`, removes what was not committed; a killed process leaves it to
 * {@linkcode clearLeftovers}.
 */
export class StagedDirectory implements Disposable {
  /** Where the files are until {@linkcode commit}. */
  readonly path: string;
  readonly #target: string;
  readonly #names: string[] = [];
  readonly #claim: Disposable | undefined;
  readonly #onUnload = () => this[Symbol.dispose]();
  #committed = false;

  /**
   * @param target path of the folder to be
   * @param variant tells several candidates for one folder apart
   * @throws {StorageError} naming the path
   */
  constructor(target: string, variant = "") {
    this.#target = resolve(target);
    ({ path: this.path, claim: this.#claim } = makeUnfinished(this.#target, variant));
    globalThis.addEventListener("unload", this.#onUnload);
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
    for (const name of this.#names) syncFile(join(this.path, name));
    for (const folder of foldersOf(this.#names)) syncDirectory(join(this.path, folder));
    // Only now: another process may have put a folder there while the disk was busy.
    checkTarget(this.#target, force);
    this.#takePlace(force);
    this.#committed = true;
  }

  /** Renames the folder to its target; an older one stays until that is on the disk. */
  #takePlace(force: boolean): void {
    const target = this.#target;
    const aside = replacedPath(target);
    const replaces = force && exists(target);
    // Claimed, so that nobody takes what is moved aside for a leftover.
    using _claim = replaces ? claimDirectory(target) : undefined;
    // rename(2) does not replace a folder that has content.
    if (replaces) rename(target, aside);
    try {
      rename(this.path, target);
      syncDirectory(dirname(target));
    } catch (error) {
      if (!exists(this.path)) rename(target, this.path);
      if (replaces) rename(aside, target);
      else checkTarget(target, force); // it may have appeared just now
      throw error;
    }
    if (replaces) attempt("remove", aside, () => Deno.removeSync(aside, { recursive: true }));
  }

  [Symbol.dispose](): void {
    globalThis.removeEventListener("unload", this.#onUnload);
    try {
      if (!this.#committed) Deno.removeSync(this.path, { recursive: true });
    } catch {
      // What went wrong before matters more; the next run clears it.
    }
    this.#claim?.[Symbol.dispose]();
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
    throw new UsageError((name) =>
      `Cannot write ${target}: it exists; choose another path or add ${name("force")}`
    );
  }
  if (isModelOrEmpty(target)) return;
  throw new UsageError(
    (name) =>
      `Cannot write ${target}: ${name("force")} replaces model folders only, and this is none; ` +
      "choose another path",
  );
}

/** Whether a path is a folder with an `.onnx` file in it and no adapter, or with nothing. */
function isModelOrEmpty(path: string): boolean {
  if (!attempt("look at", path, () => Deno.statSync(path)).isDirectory) return false;
  const names = attempt("look at", path, () => Array.from(Deno.readDirSync(path), (e) => e.name));
  const isAdapter = names.includes("adapter_config.json");
  return names.length === 0 || (!isAdapter && names.some((name) => name.endsWith(".onnx")));
}

/** Makes and claims a folder of its own for one writer. */
function makeUnfinished(
  target: string,
  variant: string,
): { readonly path: string; readonly claim: Disposable | undefined } {
  makeDirectory(dirname(target));
  let attempts = 1;
  while (true) {
    const path = unfinishedPath(target, variant, attempts);
    if (!makeAnew(path)) {
      attempts++; // somebody else is writing the same
      continue;
    }
    const claim = tryLockPath(path);
    if (claim === "taken") continue; // somebody clears it, for whom nobody had claimed it yet
    if (claim !== "impossible") return { path, claim };
    // Usable where the file system has no locks; else it was cleared.
    if (exists(path)) return { path, claim: undefined };
  }
}

/** Makes a folder, in the place of an abandoned one where there is one; false where it is in use. */
function makeAnew(path: string): boolean {
  return attempt("make the folder", path, () => {
    using abandoned = exists(path) ? claimDirectory(path) : undefined;
    if (abandoned !== undefined) Deno.removeSync(path, { recursive: true });
    try {
      Deno.mkdirSync(path);
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) return false;
      throw error;
    }
  });
}

function rename(from: string, to: string): void {
  attempt("rename to", to, () => Deno.renameSync(from, to));
}

/** Folders that hold files of these names, those above them included; "." is the whole. */
function foldersOf(names: readonly string[]): ReadonlySet<string> {
  const folders = new Set(["."]);
  for (const name of names) {
    for (let folder = dirname(name); folder !== "."; folder = dirname(folder)) folders.add(folder);
  }
  return folders;
}
