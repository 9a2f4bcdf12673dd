/** Where a pull puts files: the shared cache, or a folder of plain files. */
import { dirname, join } from "@std/path";
import { StorageError } from "../errors.ts";
import { exists, makeDirectory } from "../system/durable_files.ts";
import type { RepositoryFile } from "./api.ts";
import { type RepositoryFolder, sizeOf } from "./cache.ts";
import { fileDigest } from "./digests.ts";

export interface Target {
  /** Folder whose disk the files are on. */
  readonly root: string;
  /** Whether a file is there, verified. */
  has(file: RepositoryFile): boolean;
  /** Where a file is gotten to. */
  blob(file: RepositoryFile): string;
  /** Where a file that is there can be read. */
  at(file: RepositoryFile): string;
  lock(file: RepositoryFile): string;
  /** Lets files be seen; all are there. */
  appear(commit: string, files: readonly RepositoryFile[]): Promise<void>;
  /** The folder they are seen in. */
  folder(commit: string): string;
}

/** The repository's place in the shared cache. */
export function cacheTarget(place: RepositoryFolder): Target {
  makeDirectory(place.path);
  const blob = ({ digest }: RepositoryFile) => place.blob(digest.hex);
  return {
    root: place.path,
    has: (file) => exists(blob(file)),
    blob,
    at: blob,
    lock: ({ digest }) => place.lock(digest.hex),
    appear: (commit, files) =>
      place.addSnapshot(commit, new Map(files.map(({ path, digest }) => [path, digest.hex]))),
    folder: (commit) => place.snapshot(commit),
  };
}

/** Plain files, as `huggingface-cli download --local-dir` leaves them; partial ones lie hidden. */
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
    has: (file) => exists(blob(file)) || isInPlace(file),
    blob,
    at: (file) => exists(blob(file)) ? blob(file) : place(file),
    lock: (file) => `${blob(file)}.lock`,
    appear(_, files) {
      for (const file of files) {
        if (isInPlace(file)) continue;
        const path = place(file);
        makeDirectory(dirname(path));
        try {
          // A copy: several paths may have one content.
          Deno.copyFileSync(blob(file), `${path}.new`);
          Deno.renameSync(`${path}.new`, path);
        } catch (error) {
          throw new StorageError(`Cannot write ${path}: ${(error as Error).message}`, {
            cause: error,
          });
        }
      }
      Deno.removeSync(hidden, { recursive: true });
      return Promise.resolve();
    },
    folder: () => folder,
  };
}
