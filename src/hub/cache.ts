/**
 * The cache that Hugging Face's tools share.
 *
 * ```
 * models--org--name/blobs/<digest>                     contents, named by the hub's digest
 * models--org--name/snapshots/<commit>/<path>          links to them
 * models--org--name/refs/<branch or tag>               commit it stood for when it was pulled
 * .locks/models--org--name/<digest>.lock               held by whoever writes a blob
 * ```
 *
 * Source: huggingface_hub's guide "Understand caching". Two rules are graft's own: a process that
 * uses a snapshot shares a lock on its folder, one that pulls shares one on the repository's; who
 * removes needs both alone.
 */
import { dirname, join, relative } from "@std/path";
import { StorageError } from "../errors.ts";
import { exists, replaceFile } from "../system/durable_files.ts";
import { waitForLock } from "../system/file_lock.ts";
import { folderOf, isCommit, repositoryOf } from "./names.ts";

/** Where one repository's things are. */
export class RepositoryFolder {
  readonly path: string;

  constructor(readonly cache: string, readonly repository: string) {
    this.path = join(cache, folderOf(repository));
  }

  blob(hex: string): string {
    return join(this.path, "blobs", hex);
  }

  lock(hex: string): string {
    return join(this.cache, ".locks", folderOf(this.repository), `${hex}.lock`);
  }

  snapshot(commit: string): string {
    return join(this.path, "snapshots", commit);
  }

  ref(revision: string): string {
    return join(this.path, "refs", revision);
  }

  /** The commit that a revision stood for when it was pulled; `undefined` where it was not. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision;
    try {
      const commit = Deno.readTextFileSync(this.ref(revision)).trim();
      return isCommit(commit) ? commit : undefined;
    } catch {
      return undefined;
    }
  }

  /** Notes what a revision stands for; one process after the other, for they would write one file. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    using _lock = await waitForLock(this.lock("refs"));
    if (this.commitOf(revision) === commit) return;
    make(dirname(this.ref(revision)));
    replaceFile(this.ref(revision), new TextEncoder().encode(commit));
  }

  /** All revisions by name, with their commits. */
  refs(): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    const root = join(this.path, "refs");
    for (const path of pathsUnder(root)) {
      const name = relative(root, path);
      const commit = this.commitOf(name);
      if (commit !== undefined) found.set(name, commit);
    }
    return found;
  }

  /** Commits that have a snapshot. */
  commits(): readonly string[] {
    return entriesOf(join(this.path, "snapshots")).map(({ name }) => name).filter(isCommit);
  }

  /** Paths of a snapshot's files, relative to it, without those whose blob is gone. */
  files(commit: string): readonly string[] {
    const root = this.snapshot(commit);
    return pathsUnder(root).map((path) => relative(root, path)).filter((path) =>
      sizeOf(join(root, path)) !== undefined
    ).sort();
  }

  /**
   * Lets files appear in a snapshot. One that is new appears whole, by one rename; to one that is
   * there files are added, a model last, since it is what makes others usable.
   *
   * @param blobs digests by path; the blobs are there and verified
   */
  async addSnapshot(commit: string, blobs: ReadonlyMap<string, string>): Promise<void> {
    using _lock = await waitForLock(this.lock("snapshots"));
    const target = this.snapshot(commit);
    if (!exists(target)) {
      // As deep as the snapshot itself, so that the links lead to the same place.
      const unfinished = join(this.path, ".unfinished", commit);
      attempt("remove", unfinished, () => {
        if (exists(unfinished)) Deno.removeSync(unfinished, { recursive: true });
      });
      for (const [path, hex] of blobs) this.#link(join(unfinished, path), hex);
      make(dirname(target));
      attempt("rename to", target, () => Deno.renameSync(unfinished, target));
      attempt("remove", unfinished, () => Deno.removeSync(dirname(unfinished)));
      sync(dirname(target));
      return;
    }
    const isModel = (path: string) => path.endsWith(".onnx") ? 1 : 0;
    const last = [...blobs].sort(([a], [b]) => isModel(a) - isModel(b));
    for (const [path, hex] of last) {
      if (sizeOf(join(target, path)) === undefined) this.#link(join(target, path), hex);
    }
    sync(target);
  }

  #link(path: string, hex: string): void {
    make(dirname(path));
    const to = relative(dirname(path), this.blob(hex));
    const unfinished = `${path}.new-${Deno.pid}`;
    attempt("link", path, () => {
      if (exists(unfinished)) Deno.removeSync(unfinished);
      Deno.symlinkSync(to, unfinished);
      Deno.renameSync(unfinished, path);
    });
  }
}

/** All repositories of models in a cache. */
export function repositoriesOf(cache: string): readonly RepositoryFolder[] {
  return entriesOf(cache).flatMap(({ name, isDirectory }) => {
    const repository = isDirectory ? repositoryOf(name) : undefined;
    return repository === undefined ? [] : [new RepositoryFolder(cache, repository)];
  }).sort((a, b) => a.repository < b.repository ? -1 : 1);
}

function attempt(what: string, path: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    throw new StorageError(`Cannot ${what} ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function make(path: string): void {
  attempt("make the folder", path, () => Deno.mkdirSync(path, { recursive: true }));
}

function sync(path: string): void {
  attempt("sync the folder", path, () => {
    using directory = Deno.openSync(path, { read: true });
    directory.syncSync();
  });
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

/** Paths of all that is no folder below one; links are not followed. */
function pathsUnder(path: string): readonly string[] {
  return entriesOf(path).flatMap(({ name, isDirectory }) =>
    isDirectory ? pathsUnder(join(path, name)) : [join(path, name)]
  );
}

/** Bytes of what a path leads to; `undefined` where it leads nowhere. */
export function sizeOf(path: string): number | undefined {
  try {
    const { size, isFile } = Deno.statSync(path);
    return isFile ? size : undefined;
  } catch {
    return undefined;
  }
}
