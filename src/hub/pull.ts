/** `graft pull` from a hub: selects files, downloads and checks missing ones, and makes them visible. */
import { StorageError } from "../errors.ts";
import { freeDiskBytes } from "../system/disk.ts";
import { shareDirectory } from "../system/file_lock.ts";
import { commitOf, contentUrl, listFiles, type RepositoryFile } from "./api.ts";
import { getBlob, partialBytes } from "./blob.ts";
import { RepositoryFolder } from "./cache.ts";
import { fileContent, type Pieces } from "./content.ts";
import type { HubHttp } from "./http.ts";
import { checkModel, dataFilesOf } from "./model_data.ts";
import { selectFiles, type Selection, type Wanted } from "./select.ts";
import { cacheTarget, folderTarget, type Target } from "./target.ts";
import { variantsOf } from "./variants.ts";

/** Callbacks of a pull. */
export interface PullEvents {
  /** Called before the first download. */
  readonly onPlan?: (plan: PullPlan) => void;
  /** Called with the number of a file's bytes on the disk. */
  readonly onBytes?: (file: RepositoryFile, done: number) => void;
  readonly onFile?: (file: RepositoryFile) => void;
  /** Called if another process is downloading the same file. */
  readonly onWait?: (file: RepositoryFile) => void;
}

/** What a pull is about to get. */
export interface PullPlan extends Selection {
  /** Commit of the hub. */
  readonly commit: string;
  /** Files to get. */
  readonly files: readonly RepositoryFile[];
  /** Names of all variants that the repository has. */
  readonly variants: readonly string[];
  /** Bytes still to download. */
  readonly missingBytes: number;
}

export interface PullRequest extends Wanted, PullEvents {
  readonly cache: string;
  readonly repository: string;
  readonly revision: string;
  /** Folder for plain files instead of the cache. */
  readonly localDir?: string;
  readonly signal?: AbortSignal;
  /** For tests. */
  readonly pieces?: Pieces;
  /** Free bytes on the disk of a path; for tests. */
  readonly freeBytes?: (path: string) => number | undefined;
}

/** What was pulled. */
export interface Pulled extends PullPlan {
  /** The snapshot's folder, or `localDir`. */
  readonly folder: string;
}

/** Bytes left free on the disk, because other programs write too. */
const SPARE_BYTES = 64 << 20;

/**
 * Pulls a model or an adapter. Nothing appears in `snapshots` before all files are on the disk and
 * verified; the next call continues after a failure or a signal.
 *
 * @throws {HubError | AccessError | BadInputError | UsageError} if the hub refuses or returns invalid
 * data
 * @throws {StorageError} if it does not fit or cannot be written, naming the path
 * @throws the signal's reason
 */
export async function pull(http: HubHttp, request: PullRequest): Promise<Pulled> {
  const { repository, revision } = request;
  const place = new RepositoryFolder(request.cache, repository);
  const target = request.localDir === undefined
    ? cacheTarget(place)
    : folderTarget(request.localDir);
  const commit = await commitOf(http, repository, revision);
  const all = await listFiles(http, repository, commit);
  const byPath = new Map(all.map((file) => [file.path, file]));
  const paths = [...byPath.keys()];
  const selection = selectFiles(paths, request, `${repository} at ${http.endpoint}`);
  const chosen = selection.paths.map((path) => byPath.get(path)!);
  const plan = {
    ...selection,
    commit,
    files: chosen,
    variants: variantsOf(paths).map(({ name }) => name),
    missingBytes: missingBytes(chosen, target),
  };
  makeRoom(plan.missingBytes, target.root, request.freeBytes);
  request.onPlan?.(plan);

  // Removal waits until the blobs are in a snapshot.
  using _share = shareDirectory(place.path);
  const get = async (file: RepositoryFile) => {
    if (target.has(file)) return;
    const url = contentUrl(http, repository, commit, file.path);
    await getBlob(
      target.blob(file),
      file,
      (from) => fileContent(http, url, file, from, request.pieces, request.signal),
      {
        lock: target.lock(file),
        signal: request.signal,
        onBytes: (done) => request.onBytes?.(file, done),
        onWait: () => request.onWait?.(file),
      },
    );
    request.onFile?.(file);
  };
  for (const file of chosen) await get(file);
  const model = chosen.find(({ path }) => path === selection.variant?.path);
  // Also data files that only the model itself names.
  const data = model === undefined
    ? new Map<string, RepositoryFile>()
    : dataFilesOf(model.path, target.at(model), byPath);
  const more = [...new Set(data.values())].filter((file) => !chosen.includes(file));
  makeRoom(missingBytes(more, target), target.root, request.freeBytes);
  for (const file of more) await get(file);
  if (model !== undefined) {
    const dataPaths = new Map([...data].map(([location, file]) => [location, target.at(file)]));
    checkModel(model.path, target.at(model), dataPaths);
  }

  const files = [...chosen, ...more];
  await target.appear(commit, files);
  if (request.localDir === undefined) await place.writeRef(revision, commit);
  return { ...plan, files, paths: files.map(({ path }) => path), folder: target.folder(commit) };
}

function missingBytes(files: readonly RepositoryFile[], target: Target): number {
  const missing = new Map(
    files.filter((file) => !target.has(file)).map((file) => [target.blob(file), file]),
  );
  return missing.entries().reduce(
    (sum, [path, { sizeBytes }]) => sum + sizeBytes - partialBytes(path, sizeBytes),
    0,
  );
}

function makeRoom(
  missing: number,
  path: string,
  freeBytes: PullRequest["freeBytes"] = freeDiskBytes,
): void {
  if (missing === 0) return;
  const free = freeBytes(path);
  if (free === undefined || missing + SPARE_BYTES <= free) return;
  const mb = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
  throw new StorageError(
    `${path} has no room for ${mb(missing)}, with ${mb(SPARE_BYTES)} left free: current value is ` +
      `${mb(free)}; make room, or name another disk with HF_HOME`,
  );
}
