/**
 * Writes files that survive a kill or a power loss: all data that graft must not lose.
 *
 * The method is the usual one of databases: write under another name, fsync the file, rename it into
 * place, fsync the folder. A reader sees the old content or the new, never a part. Calls are
 * synchronous, so that the system calls follow the order of the code.
 */
import { basename, dirname, join } from "@std/path";
import { StorageError } from "../errors.ts";

/**
 * Prefix of files and folders that are unfinished or being removed; {@linkcode removeLeftovers} deletes
 * them.
 */
const UNFINISHED = ".unfinished-";

function attempt<T>(what: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new StorageError(`Cannot ${what} ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Creates a folder and missing parent folders, and puts their directory entries on the disk. */
export function makeDirectory(path: string): void {
  const missing: string[] = [];
  for (let at = path; !isThere(at) && dirname(at) !== at; at = dirname(at)) missing.push(at);
  makeFolders(path);
  // Otherwise a power loss could lose a new folder with all its files.
  for (const made of missing.reverse()) syncDirectory(dirname(made));
}

function makeFolders(path: string): void {
  attempt("make the folder", path, () => Deno.mkdirSync(path, { recursive: true }));
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false; // creating the folder reports the problem
  }
}

/** Puts a file's content, or a folder's entries, on the disk. */
function sync(what: string, path: string): void {
  attempt(what, path, () => {
    using opened = Deno.openSync(path, { read: true });
    opened.syncSync();
  });
}

/** Puts a folder's entries (not the files' contents) on the disk. */
export function syncDirectory(path: string): void {
  sync("sync the folder", path);
}

/** Puts the content of an existing file on the disk. */
export function syncFile(path: string): void {
  sync("sync", path);
}

/** A file's content, in one piece or in several one after the other. */
export type FileContent = Uint8Array | readonly Uint8Array[];

function writeAll(file: Deno.FsFile, part: Uint8Array): void {
  for (let done = 0; done < part.length;) done += file.writeSync(part.subarray(done));
}

/** Writes a new file and puts its content on the disk. */
function writeAndSync(path: string, content: FileContent): void {
  attempt("write", path, () => {
    using file = Deno.openSync(path, { write: true, create: true, truncate: true });
    for (const part of content instanceof Uint8Array ? [content] : content) writeAll(file, part);
    file.syncSync();
  });
}

function rename(from: string, to: string): void {
  attempt("rename to", to, () => Deno.renameSync(from, to));
}

/** Whether the path exists, also as a dangling link. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new StorageError(`Cannot look at ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function sibling(path: string, name: string): string {
  return join(dirname(path), UNFINISHED + name);
}

/**
 * Writes or replaces a file atomically.
 *
 * @throws {StorageError} naming the path; an older file of the name is untouched then
 */
export function replaceFile(path: string, content: FileContent): void {
  const unfinished = sibling(path, basename(path));
  writeAndSync(unfinished, content);
  rename(unfinished, path);
  syncDirectory(dirname(path));
}

/**
 * Writes or replaces a file atomically with content that comes in parts.
 *
 * @throws {StorageError} naming the path; an older file of the name is untouched then, as it is if the parts
 *   throw
 */
export async function replaceFileInParts(
  path: string,
  parts: AsyncIterable<Uint8Array>,
): Promise<void> {
  const unfinished = sibling(path, basename(path));
  using file = attempt(
    "write",
    path,
    () => Deno.openSync(unfinished, { write: true, create: true, truncate: true }),
  );
  try {
    for await (const part of parts) attempt("write", path, () => writeAll(file, part));
    attempt("write", path, () => file.syncSync());
    rename(unfinished, path);
  } catch (error) {
    remove(unfinished);
    throw error;
  }
  syncDirectory(dirname(path));
}

/**
 * Copies a file to a path, atomically replacing an older one: a process that runs the older one keeps
 * it.
 *
 * @param mode permissions of the copy; default those of the original
 * @throws {StorageError} naming the path; an older file of the name is untouched then
 */
export function copyFile(from: string, path: string, mode?: number): void {
  const unfinished = sibling(path, basename(path));
  attempt("write", path, () => Deno.copyFileSync(from, unfinished));
  if (mode === undefined) syncFile(unfinished);
  else changeMode(unfinished, mode);
  rename(unfinished, path);
  syncDirectory(dirname(path));
}

/** Changes the permissions of a file or folder, and puts them and a file's content on the disk. */
export function changeMode(path: string, mode: number): void {
  attempt("change the permissions of", path, () => Deno.chmodSync(path, mode));
  sync("sync", path);
}

/**
 * Writes or replaces a folder of files atomically.
 *
 * @param files contents by file name, or by path in the folder
 * @throws {StorageError} naming the path; an older folder of the name is untouched then, unless the
 *   failure comes between moving it away and moving the new one in
 */
export function replaceDirectory(path: string, files: ReadonlyMap<string, FileContent>): void {
  const unfinished = sibling(path, basename(path));
  if (exists(unfinished)) remove(unfinished);
  makeDirectory(dirname(path));
  makeFolders(unfinished);
  for (const [name, content] of files) {
    makeFolders(dirname(join(unfinished, name)));
    writeAndSync(join(unfinished, name), content);
  }
  for (const folder of new Set([...files.keys()].map(dirname))) {
    syncDirectory(join(unfinished, folder));
  }
  syncDirectory(unfinished);
  // rename(2) does not replace a folder that has content.
  const older = exists(path) ? moveAside(path) : undefined;
  rename(unfinished, path);
  syncDirectory(dirname(path));
  if (older !== undefined) remove(older);
}

/** Removes a file or link, if it exists, durably. */
export function removeFile(path: string): void {
  if (!exists(path)) return;
  remove(path);
  syncDirectory(dirname(path));
}

/** Moves a file or folder atomically to a path that does not exist. */
export function moveDurably(from: string, to: string): void {
  rename(from, to);
  syncDirectory(dirname(to));
  if (dirname(from) !== dirname(to)) syncDirectory(dirname(from));
}

function remove(path: string): void {
  attempt("remove", path, () => Deno.removeSync(path, { recursive: true }));
}

/** Removes a folder; readers see all of it or nothing, also after a power loss. */
export function removeDirectory(path: string): void {
  const leaving = moveAside(path);
  // Before its contents are removed: otherwise the removals could reach the disk before the new name.
  syncDirectory(dirname(path));
  remove(leaving);
}

/** Renames a folder that is to be removed; returns its new path. */
function moveAside(path: string): string {
  const leaving = sibling(path, `${basename(path)}-removed`);
  if (exists(leaving)) remove(leaving);
  rename(path, leaving);
  return leaving;
}

/** Removes the unfinished files of killed writers in a folder. */
export function removeLeftovers(directory: string): void {
  const names = attempt("list", directory, () => [...Deno.readDirSync(directory)]);
  for (const { name } of names) if (name.startsWith(UNFINISHED)) remove(join(directory, name));
}
