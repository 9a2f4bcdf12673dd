/** Puts a model from a folder or an archive into the cache, as if it came from a hub. */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import { BadInputError, StorageError, UsageError } from "../errors.ts";
import { freeDiskBytes } from "../system/disk.ts";
import { makeDirectory, moveDurably, syncFile } from "../system/durable_files.ts";
import { openRegularFile } from "../system/regular_file.ts";
import { shareDirectory } from "../system/file_lock.ts";
import { getBlob } from "./blob.ts";
import { RepositoryFolder, sizeOf } from "./cache.ts";
import { readDigest } from "./digests.ts";
import { checkFilePath } from "./names.ts";
import { DEFAULT_REVISION } from "./pulled.ts";

/** Ref beside `main` that marks a local model, as `graft list` shows. */
const LOCAL = "local";

/** A file of a folder. */
export interface LocalFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/**
 * Files below a folder, hidden ones left out.
 *
 * @throws {BadInputError} for a link, a device, or a name that no file may have
 * @throws {StorageError} if it cannot be read
 */
export function filesUnder(root: string, below = ""): readonly LocalFile[] {
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(join(root, below))];
  } catch (error) {
    throw new StorageError(`Cannot list ${join(root, below)}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return entries.filter(({ name }) => !name.startsWith(".")).flatMap((entry) => {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    checkFilePath(path, root);
    if (entry.isDirectory) return filesUnder(root, path);
    if (!entry.isFile) {
      const what = entry.isSymlink ? "a link: put a copy in its place" : "no regular file";
      throw new BadInputError(`${root}: refused "${path}": it is ${what}`);
    }
    return [{ path, sizeBytes: Deno.statSync(join(root, path)).size }];
  }).sort((a, b) => a.path < b.path ? -1 : 1);
}

/** The commit of a folder's contents, given the digests of all its files in the order of paths. */
function commitOfFiles(digests: ReadonlyMap<string, string>): string {
  return createHash("sha256").update(JSON.stringify([...digests])).digest("hex").slice(0, 40);
}

/**
 * Whether a snapshot came from this machine. Its commit shows it, because a hub's commits are computed
 * differently; a separate marker could be lost by a kill.
 */
function isFromHere(place: RepositoryFolder, commit: string): boolean {
  const links = [...place.links(commit)].sort(([a], [b]) => a < b ? -1 : 1);
  return commitOfFiles(new Map(links)) === commit;
}

/**
 * Refuses a name that a model of another origin has: its branch would point to this one.
 *
 * @throws {UsageError} naming both
 */
export function checkOrigin(place: RepositoryFolder, from: "hub" | "here"): void {
  const commits = place.commits();
  if (commits.length === 0) return;
  const isLocal = commits.some((commit) => isFromHere(place, commit));
  if (from === "hub" && isLocal) {
    throw new UsageError(
      `${place.repository} was pulled from a folder or an archive here: \`graft rm ` +
        `${place.repository}\` removes it for the hub's`,
    );
  }
  if (from === "here" && !isLocal) {
    throw new UsageError(
      (name) =>
        `${place.repository} was pulled from a hub: choose another name with ${name("name")}`,
    );
  }
}

/**
 * Puts a model's folder into the cache.
 *
 * @param options.move whether the files may be taken away, as from an unpacked archive
 * @returns the snapshot's folder and commit, which is computed from the contents
 * @throws {StorageError} if there is no room, or it cannot be written
 * @throws the signal's reason
 */
export async function importModel(
  cache: string,
  repository: string,
  root: string,
  files: readonly LocalFile[],
  options: { readonly move: boolean; readonly signal?: AbortSignal },
): Promise<{ readonly folder: string; readonly commit: string }> {
  const place = new RepositoryFolder(cache, repository);
  checkOrigin(place, "here");
  makeDirectory(join(place.path, "blobs"));
  using _share = shareDirectory(place.path);
  const total = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const free = freeDiskBytes(place.path);
  if (!options.move && free !== undefined && total > free) {
    throw new StorageError(
      `${place.path} has no room for ${total} bytes of ${root}: current value is ${free}`,
    );
  }
  const blobs = new Map<string, string>();
  for (const { path, sizeBytes } of files) {
    options.signal?.throwIfAborted();
    const from = join(root, path);
    const hex = await readDigest(from, options.signal);
    const blob = place.blob(hex);
    blobs.set(path, hex);
    const isWhole = async () =>
      sizeOf(blob) === sizeBytes && await readDigest(blob, options.signal) === hex;
    if (options.move) {
      if (await isWhole()) continue;
      syncFile(from);
      moveDurably(from, blob);
      continue;
    }
    const digest = { kind: "sha256", hex } as const;
    await getBlob(blob, { path, sizeBytes, digest }, (at) => chunksOf(from, at), {
      lock: place.lock(hex),
      signal: options.signal,
      isWhole,
    });
  }
  const commit = commitOfFiles(blobs);
  await place.addSnapshot(commit, blobs);
  await place.writeRef(LOCAL, commit);
  await place.writeRef(DEFAULT_REVISION, commit);
  return { folder: place.snapshot(commit), commit };
}

async function* chunksOf(path: string, from: number): AsyncGenerator<Uint8Array> {
  const file = openRegularFile(path);
  try {
    await file.seek(from, Deno.SeekMode.Start);
    yield* file.readable;
  } catch (error) {
    throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}
