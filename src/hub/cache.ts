/**
 * The cache that Hugging Face's tools share.
 *
 * ```
 * models--org--name/blobs/<digest>                     contents, named by the hub's digest
 * models--org--name/snapshots/<commit>/<path>          links to them
 * models--org--name/refs/<branch or tag>               commit it stood for when it was pulled
 * .locks/models--org--name/<digest>.lock held by the process that writes a blob
 * ```
 *
 * Source: huggingface_hub's guide "Understand caching". Two rules are graft's own: a process that uses a
 * snapshot holds a shared lock on its folder, one that pulls holds a shared lock on the repository's;
 * removal needs both exclusively.
 */
import { basename, dirname, join, relative } from "@std/path";
import { StorageError } from "../errors.ts";
import {
  exists,
  makeDirectory,
  moveDurably,
  replaceFile,
  syncDirectory,
} from "../system/durable_files.ts";
import { waitForLock } from "../system/file_lock.ts";
import { readSmallText } from "../system/small_file.ts";
import { folderOf, isCommit, repositoryOf } from "./names.ts";

/** Paths of one repository in the cache. */
export class RepositoryFolder {
  /** The repository's folder. */
  readonly path: string;

  /**
   * Names a repository's folder, which need not be there.
   *
   * @param cache Hugging Face's cache
   * @param repository name, as `org/name`
   */
  constructor(readonly cache: string, readonly repository: string) {
    this.path = join(cache, folderOf(repository));
  }

  /** Path of a file's content by its digest. */
  blob(hex: string): string {
    return join(this.path, "blobs", hex);
  }

  /** Path of the lock of a file's content. */
  lock(hex: string): string {
    return join(this.cache, ".locks", folderOf(this.repository), `${hex}.lock`);
  }

  /** Folder of the files at a commit. */
  snapshot(commit: string): string {
    return join(this.path, "snapshots", commit);
  }

  /** Path of the file that names a branch's commit. */
  ref(revision: string): string {
    return join(this.path, "refs", revision);
  }

  /** The commit that a revision pointed to when it was pulled; `undefined` if it was not pulled. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision;
    try {
      const commit = readSmallText(this.ref(revision))?.trim() ?? "";
      return isCommit(commit) ? commit : undefined;
    } catch {
      return undefined;
    }
  }

  /** Stores the commit of a revision; processes take turns, because they write the same file. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    using _lock = await waitForLock(this.lock("refs"));
    if (this.commitOf(revision) === commit) return;
    makeDirectory(dirname(this.ref(revision)));
    replaceFile(this.ref(revision), new TextEncoder().encode(commit));
  }

  /** All revisions by name, with their commits. */
  refs(): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    const root = join(this.path, "refs");
    for (const path of pathsUnder(root)) {
      if (basename(path).startsWith(".")) continue; // unfinished file of a killed process
      const name = relative(root, path);
      const commit = this.commitOf(name);
      if (commit !== undefined) found.set(name, commit);
    }
    return found;
  }

  /** Commits that have a snapshot. */
  commits(): readonly string[] {
    return entriesOf(join(this.path, "snapshots")).filter(({ isDirectory }) => isDirectory)
      .map(({ name }) => name).filter(isCommit);
  }

  /** Paths of a snapshot's files, relative to it, without those whose blob is missing. */
  files(commit: string): readonly string[] {
    const root = this.snapshot(commit);
    return pathsUnder(root).map((path) => relative(root, path)).filter((path) =>
      sizeOf(join(root, path)) !== undefined
    ).sort();
  }

  /** Names of the blobs that a snapshot's links point to, by path, including missing ones. */
  links(commit: string): ReadonlyMap<string, string> {
    const root = this.snapshot(commit);
    const found = new Map<string, string>();
    for (const path of pathsUnder(root)) {
      const isLink = attempt("look at", path, () => Deno.lstatSync(path).isSymlink);
      if (!isLink) continue;
      const to = attempt("read the link", path, () => Deno.readLinkSync(path));
      found.set(relative(root, path), basename(to));
    }
    return found;
  }

  /**
   * Makes files visible in a snapshot. A new snapshot appears complete, by one rename; files are added
   * to an existing one, a model last, because it makes the others usable.
   *
   * @param blobs digests by path; the blobs are there, verified and on the disk
   */
  async addSnapshot(commit: string, blobs: ReadonlyMap<string, string>): Promise<void> {
    using _lock = await waitForLock(this.lock("snapshots"));
    const target = this.snapshot(commit);
    // At the same depth as the snapshot itself, so that the relative links are the same.
    const unfinished = join(this.path, ".unfinished", commit);
    this.#clearUnfinished();
    if (!exists(target)) {
      this.#link(unfinished, blobs);
      makeDirectory(dirname(target));
      moveDurably(unfinished, target);
    } else {
      const missing = [...blobs].filter(([path, hex]) =>
        sizeOf(join(target, path)) !== sizeOf(this.blob(hex))
      );
      const isModel = ([path]: readonly [string, string]) => path.endsWith(".onnx");
      for (const part of [missing.filter((entry) => !isModel(entry)), missing.filter(isModel)]) {
        if (part.length === 0) continue;
        this.#link(unfinished, new Map(part));
        for (const [path] of part) {
          makeDirectory(dirname(join(target, path)));
          moveDurably(join(unfinished, path), join(target, path));
        }
      }
    }
    this.#clearUnfinished();
  }

  /** Creates a folder of links and puts them on the disk. */
  #link(folder: string, blobs: ReadonlyMap<string, string>): void {
    makeDirectory(folder);
    const folders = new Set([folder]);
    for (const [name, hex] of blobs) {
      const path = join(folder, name);
      makeDirectory(dirname(path));
      attempt("link", path, () => Deno.symlinkSync(relative(dirname(path), this.blob(hex)), path));
      folders.add(dirname(path));
    }
    for (const path of folders) syncDirectory(path);
  }

  /** Removes unfinished snapshots of killed processes; the caller has the lock. */
  #clearUnfinished(): void {
    const path = join(this.path, ".unfinished");
    if (!exists(path)) return;
    attempt("remove", path, () => Deno.removeSync(path, { recursive: true }));
  }
}

/** All repositories of models in a cache. */
export function repositoriesOf(cache: string): readonly RepositoryFolder[] {
  return entriesOf(cache).flatMap(({ name, isDirectory }) => {
    const repository = isDirectory ? repositoryOf(name) : undefined;
    return repository === undefined ? [] : [new RepositoryFolder(cache, repository)];
  }).sort((a, b) => a.repository < b.repository ? -1 : 1);
}

function attempt<T>(what: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new StorageError(`Cannot ${what} ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function entriesOf(path: string): readonly Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(path)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return [];
    }
    throw new StorageError(`Cannot list ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Paths of all files below a folder; links are not followed. */
function pathsUnder(path: string): readonly string[] {
  return entriesOf(path).flatMap(({ name, isDirectory }) =>
    isDirectory ? pathsUnder(join(path, name)) : [join(path, name)]
  );
}

/** Size of the file that a path or link points to; `undefined` if there is none. */
export function sizeOf(path: string): number | undefined {
  try {
    const { size, isFile } = Deno.statSync(path);
    return isFile ? size : undefined;
  } catch {
    return undefined;
  }
}
