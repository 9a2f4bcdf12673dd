/** Finds pulled models by name, without the network. */
import { join } from "@std/path";
import { BadInputError, UsageError } from "../errors.ts";
import { shareDirectory } from "../system/file_lock.ts";
import { AdapterStore, type StoredAdapter } from "./adapter_store.ts";
import { RepositoryFolder } from "./cache.ts";
import { type ModelName, parseModelName } from "./names.ts";
import { hubCache } from "./settings.ts";
import { chooseVariant } from "./variants.ts";

/** Revision if none is named: the name of a hub's main branch. */
export const DEFAULT_REVISION = "main";

/** A repository's files at a commit, in the cache. */
export interface Snapshot {
  readonly place: RepositoryFolder;
  readonly commit: string;
  readonly folder: string;
  /** Paths relative to the folder. */
  readonly paths: readonly string[];
}

/**
 * The snapshot of a name.
 *
 * @returns `undefined` if nothing with the name was pulled
 * @throws {UsageError} if only other revisions were pulled; the message lists them
 */
export function findSnapshot(cache: string, name: ModelName): Snapshot | undefined {
  const place = new RepositoryFolder(cache, name.repository);
  const commits = place.commits();
  if (commits.length === 0) return undefined;
  const revision = name.revision ?? DEFAULT_REVISION;
  const short = /^[0-9a-f]{7,39}$/.test(revision)
    ? commits.filter((commit) => commit.startsWith(revision))
    : [];
  // A snapshot pulled by its commit has no branch; if it is the only one, it is used.
  const commit = place.commitOf(revision) ?? (short.length === 1 ? short[0] : undefined) ??
    (name.revision === undefined && commits.length === 1 ? commits[0] : undefined);
  if (commit !== undefined && commits.includes(commit)) {
    return { place, commit, folder: place.snapshot(commit), paths: place.files(commit) };
  }
  const there = [...place.refs().keys(), ...commits.map((commit) => commit.slice(0, 12))];
  throw new UsageError(
    `${name.repository} was not pulled in revision "${revision}"; there is ${there.join(", ")}: ` +
      `\`graft pull ${name.repository} --revision ${revision}\` pulls it`,
  );
}

function snapshotOf(text: string): { name: ModelName; snapshot: Snapshot } | undefined {
  const name = parseModelName(text);
  if (name === undefined) return undefined;
  let cache: string;
  try {
    cache = hubCache();
  } catch {
    return undefined; // no home, so nothing was pulled
  }
  const snapshot = findSnapshot(cache, name);
  return snapshot === undefined ? undefined : { name, snapshot };
}

function storedAdapter(name: string): StoredAdapter | undefined {
  if (parseModelName(name) === undefined) return undefined;
  let store: AdapterStore;
  try {
    store = new AdapterStore();
  } catch {
    return undefined; // no home, so there is no store
  }
  return store.find(name);
}

/** Locks on folders in use; the kernel releases them when the process ends. */
const inUse = new Map<string, Disposable>();

/** Keeps a folder from being removed by `graft rm` for as long as this process runs. */
function keep({ folder }: { readonly folder: string }): void {
  if (inUse.has(folder)) return;
  const lock = shareDirectory(folder);
  if (lock !== undefined) inUse.set(folder, lock);
}

/**
 * Path of a pulled model's `.onnx` file; `graft rm` does not remove it while this process runs.
 *
 * @param text `org/name`, with `@revision` and `:variant`
 * @returns `undefined` if nothing with the name was pulled
 * @throws {UsageError} if revision or variant do not exist
 * @throws {BadInputError} if it is not a model
 */
export function findPulledModel(text: string): string | undefined {
  const found = snapshotOf(text);
  if (found === undefined) return undefined;
  const { name, snapshot } = found;
  const variant = chooseVariant(snapshot.paths, name.variant, `What was pulled of ${text}`);
  if (variant === undefined) {
    throw new BadInputError(`What was pulled of ${text} has no ONNX model: ${snapshot.folder}`);
  }
  keep(snapshot);
  return join(snapshot.folder, variant.path);
}

/** Folder of an adapter in the store or from a hub, by name; `undefined` if there is none. */
export function findNamedAdapter(text: string): string | undefined {
  const stored = storedAdapter(text);
  if (stored !== undefined) {
    keep(stored);
    return stored.folder;
  }
  const found = snapshotOf(text);
  if (found === undefined || !found.snapshot.paths.includes("adapter_config.json")) {
    return undefined;
  }
  keep(found.snapshot);
  return found.snapshot.folder;
}
