/** The target of a pull: the shared cache, or a folder of plain files. */
import { dirname, join } from "@std/path";
import { StorageError } from "../errors.ts";
import { copyFile, makeDirectory } from "../system/durable_files.ts";
import type { RepositoryFile } from "./api.ts";
import { isWhole } from "./blob.ts";
import { type RepositoryFolder, sizeOf } from "./cache.ts";
import { fileDigest } from "./digests.ts";

export interface Target {
  /** A folder on the disk of the files. */
  readonly root: string;
  /** Whether a file exists and is verified. */
  has(file: RepositoryFile): boolean;
  /** Path to which a file is downloaded. */
  blob(file: RepositoryFile): string;
  /** Path of an existing file for reading. */
  at(file: RepositoryFile): string;
  lock(file: RepositoryFile): string;
  /** Makes files visible; all exist. */
  appear(commit: string, files: readonly RepositoryFile[]): Promise<void>;
  /** The folder in which they are visible. */
  folder(commit: string): string;
}

/** The repository's folder in the shared cache. */
export function cacheTarget(place: RepositoryFolder): Target {
  makeDirectory(place.path);
  const blob = ({ digest }: RepositoryFile) => place.blob(digest.hex);
  const whole = new Set<string>();
  return {
    root: place.path,
    has(file) {
      const path = blob(file);
      if (!whole.has(path) && isWhole(path, file)) whole.add(path);
      return whole.has(path);
    },
    blob,
    at: blob,
    lock: ({ digest }) => place.lock(digest.hex),
    appear: (commit, files) =>
      place.addSnapshot(commit, new Map(files.map(({ path, digest }) => [path, digest.hex]))),
    folder: (commit) => place.snapshot(commit),
  };
}

/** Plain files, as `huggingface-cli download --local-dir` writes them; partial ones are hidden. */
export function folderTarget(folder: string): Target {
  const hidden = join(folder, ".cache", "huggingface", "download");
  makeDirectory(hidden);
  const blob = ({ digest }: RepositoryFile) => join(hidden, digest.hex);
  const place = ({ path }: RepositoryFile) => join(folder, path);
  const seen = new Map<string, boolean>();
  const isInPlace = (file: RepositoryFile): boolean => {
    let found = seen.get(file.path);
    if (found === undefined) {
      const path = place(file);
      found = sizeOf(path) === file.sizeBytes && !Deno.lstatSync(path).isSymlink &&
        fileDigest(path, file.digest.kind) === file.digest.hex;
      seen.set(file.path, found);
    }
    return found;
  };
  return {
    root: folder,
    has: (file) => isInPlace(file) || isWhole(blob(file), file),
    blob,
    at: (file) => isInPlace(file) ? place(file) : blob(file),
    lock: (file) => `${blob(file)}.lock`,
    appear(_, files) {
      for (const file of files) {
        if (isInPlace(file)) continue;
        makeDirectory(dirname(place(file)));
        // A copy, because several paths may have the same content.
        copyFile(blob(file), place(file));
      }
      removeFolder(hidden);
      return Promise.resolve();
    },
    folder: () => folder,
  };
}

function removeFolder(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    throw new StorageError(`Cannot remove ${path}: ${(error as Error).message}`, { cause: error });
  }
}
