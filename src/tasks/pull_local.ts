/** Takes what is already on this machine: a folder or a tar archive. */
import { basename, join, resolve } from "@std/path";
import { BadInputError, ParameterError, StorageError } from "../errors.ts";
import { checkAdapterName, type StoredAdapter } from "../hub/adapter_store.ts";
import { filesUnder, importModel } from "../hub/import_local.ts";
import { parseModelName } from "../hub/names.ts";
import { hubCache } from "../hub/settings.ts";
import { unpackTar } from "../hub/tar.ts";
import { variantsOf } from "../hub/variants.ts";
import { claimDirectory } from "../system/claim.ts";
import { freeDiskBytes } from "../system/disk.ts";
import { makeDirectory } from "../system/durable_files.ts";
import { isFolder } from "../system/folders.ts";
import { regularFileSize } from "../system/regular_file.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { saveAdapterAs } from "../model/store_adapter.ts";
import type { PullConfig } from "./pull_config.ts";

/** What came from this machine. */
export type PulledLocally =
  | {
    readonly from: "here";
    /** The name that it has from now on. */
    readonly name: string;
    readonly commit: string;
    readonly folder: string;
    /** Names of the ONNX models in it. */
    readonly variants: readonly string[];
    /** Number of files. */
    readonly files: number;
    readonly sizeBytes: number;
  }
  /** An adapter, which is now in graft's store. */
  | { readonly from: "adapter"; readonly name: string; readonly adapter: StoredAdapter };

/** Parameters that apply to a hub only. */
const HUB_ONLY = ["revision", "variant", "include", "exclude", "localDir"] as const;

/**
 * Takes a folder or an archive into the cache, or an adapter into the store.
 *
 * @throws {ParameterError} for a parameter of a hub
 * @throws {UsageError} for a name that is invalid or taken
 * @throws {BadInputError} for a source that holds neither a model nor an adapter, or that is refused
 * @throws {StorageError} if it does not fit or cannot be written
 */
export async function pullLocal(
  config: PullConfig,
  signal?: AbortSignal,
): Promise<PulledLocally> {
  const { source } = config;
  const given = HUB_ONLY.find((key) => config[key] !== undefined);
  if (given !== undefined) {
    throw new ParameterError(given, (name) => `${name(given)} is for a hub's models`);
  }
  const name = nameFor(source, config.name);
  if (isFolder(source)) return await take(source, source, name, false, signal);
  if (regularFileSize(source) === undefined) {
    throw new BadInputError(`Cannot pull ${source}: there is no such file`);
  }
  const cache = hubCache();
  makeDirectory(cache);
  clearUnpacked(cache);
  // On the cache's disk, so that what is unpacked can be moved there.
  const unpacked = makeUnpacked(cache);
  using _claim = claimDirectory(unpacked);
  using _unpacked = { [Symbol.dispose]: () => remove(unpacked) };
  await unpackTar(source, unpacked, () => freeDiskBytes(cache), signal);
  return await take(rootOf(unpacked), source, name, true, signal);
}

/** Prefix of the names of folders that archives are unpacked to. */
const UNPACKED = ".unpacked-";

function makeUnpacked(cache: string): string {
  try {
    return Deno.makeTempDirSync({ dir: cache, prefix: UNPACKED });
  } catch (error) {
    throw new StorageError(`Cannot make a folder in ${cache}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Removes what killed processes have left; folders of running ones are claimed. */
function clearUnpacked(cache: string): void {
  for (const { name } of Deno.readDirSync(cache)) {
    if (!name.startsWith(UNPACKED)) continue;
    using claim = claimDirectory(join(cache, name));
    if (claim !== undefined) remove(join(cache, name));
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch {
    // the earlier error matters more; the next archive clears this
  }
}

function nameFor(source: string, given: string | undefined): string {
  const name = given ?? basename(resolve(source)).replace(/\.(tar|tgz|tar\.gz)$/, "");
  const parsed = parseModelName(name);
  if (parsed !== undefined && parsed.revision === undefined && parsed.variant === undefined) {
    return name;
  }
  throw new ParameterError(
    "name",
    (parameter) =>
      `${parameter("name")} must be letters, digits and _.-, with one / at most: current value is ${
        JSON.stringify(name)
      }`,
  );
}

/** Archives often have one folder with everything in it. */
function rootOf(folder: string): string {
  const [only, ...others] = [...Deno.readDirSync(folder)].filter(({ name }) =>
    !name.startsWith(".")
  );
  return only?.isDirectory && others.length === 0 && only.name !== "onnx"
    ? join(folder, only.name)
    : folder;
}

async function take(
  folder: string,
  source: string,
  name: string,
  move: boolean,
  signal: AbortSignal | undefined,
): Promise<PulledLocally> {
  const files = filesUnder(folder);
  const paths = files.map(({ path }) => path);
  const variants = variantsOf(paths);
  if (variants.length === 0) {
    if (paths.includes("adapter_config.json")) {
      return { from: "adapter", name, adapter: saveAdapterAs(checkAdapterName(name), folder) };
    }
    throw new BadInputError(`${source} has no .onnx file and no adapter_config.json`);
  }
  // What cannot be loaded is reported now, not when it is used.
  for (const { path } of variants) loadOnnx(join(folder, path))[Symbol.dispose]();
  const { commit, folder: place } = await importModel(hubCache(), name, folder, files, {
    move,
    signal,
  });
  return {
    from: "here",
    name,
    commit,
    folder: place,
    variants: variants.map(({ name }) => name),
    files: files.length,
    sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}
