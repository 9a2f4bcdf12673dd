/** The adapters that a server answers with: those of its flags, and what merges them. */
import { resolve } from "@std/path";
import { BadInputError, UsageError } from "../../errors.ts";
import { Adapters } from "../../http/adapters.ts";
import { ApiError } from "../../http/api_error.ts";
import { BackgroundMerges } from "../../http/background_merges.ts";
import { startMerge } from "../../jobs/merge_process.ts";
import { loadAdapter } from "../../model/adapter_dir.ts";
import { isOnnxAdapter } from "../../model/onnx_adapter_file.ts";
import type { InferenceModel } from "../../tasks/inference_model.ts";
import { runtimeArguments } from "../runtime_flags.ts";
import type { RequestFlags } from "./request_flags.ts";

export interface AdaptersSurroundings {
  /** The base as the command line names it, and as requests do. */
  readonly path: string;
  readonly id: string;
  /** Whether requests are in work that a comparison should not slow down. */
  readonly isBusy: () => boolean;
  /** Opens a merged model, ready to answer. */
  readonly open: (path: string) => Promise<InferenceModel>;
  /** Told what the operator should know. */
  readonly onNote: (line: string) => void;
}

/** @throws {UsageError} for flags that do not go together */
export function checkAdapterFlags(
  { loraWay, mergedDir, adapterPath }: RequestFlags & { readonly adapterPath?: string },
): void {
  if (mergedDir === undefined) {
    if (loraWay !== "merged") return;
    throw new UsageError("--lora-way merged needs a folder for merged models: give --merged-dir");
  }
  if (adapterPath === undefined) return;
  throw new UsageError(
    "--merged-dir merges into the base: give adapters with --lora-modules, not --adapter-path",
  );
}

/** Modules whose adapters are switched; none if none are. */
export function switchedModules(flags: RequestFlags): readonly string[] {
  if (flags.loraTargetModules.length > 0) return flags.loraTargetModules;
  if (flags.loraDir !== undefined || flags.jobsDir !== undefined) return ["all-linear"];
  const paths = loraModules(flags).map(([, path]) => path);
  // An exported file names inputs of products, not modules.
  if (paths.some(isOnnxAdapter)) return ["all-linear"];
  const adapted = paths.flatMap((path) => [...loadAdapter(path).adapter.lora.keys()]);
  return [...new Set(adapted)];
}

/**
 * The adapters that requests may name, with those of the flags loaded.
 *
 * @returns `undefined` if the server takes none
 */
export async function openAdapters(
  model: InferenceModel,
  flags: RequestFlags,
  { path, id, isBusy, open, onNote }: AdaptersSurroundings,
): Promise<Adapters | undefined> {
  const { loraDir, jobsDir, mergedDir, maxLoraRank, maxLoras, maxMerged, loraWay } = flags;
  const modules = loraModules(flags);
  // Those of flags are tried in any case, so that it is told why they cannot be loaded.
  const takesMore = model.kind === "causal" || mergedDir !== undefined;
  const isAsked = takesMore && (loraDir !== undefined || jobsDir !== undefined);
  if (!isAsked && modules.length === 0) return undefined;
  const runtime = runtimeArguments(flags);
  const adapters = new Adapters(model, {
    base: id,
    folder: loraDir,
    maxRank: maxLoraRank,
    most: maxLoras,
    way: loraWay,
    mostMerged: maxMerged,
    merges: mergedDir === undefined ? undefined : new BackgroundMerges({
      folder: resolve(mergedDir),
      baseDigest: model.digest,
      start: (adapter, savePath) => startMerge({ model: path, adapter, savePath, flags: runtime }),
      open,
    }),
    isBusy,
    onNote,
  });
  for (const [name, folder] of modules) {
    try {
      await adapters.load(name, folder);
    } catch (error) {
      // Worded for clients.
      if (error instanceof ApiError) throw new BadInputError(`${folder}: ${error.message}`);
      throw error;
    }
  }
  return adapters;
}

/** The name and the folder of each adapter to load. */
function loraModules({ loraModules }: RequestFlags): readonly (readonly [string, string])[] {
  return loraModules.map((text) => {
    const [, name, folder] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (folder !== undefined) return [name, folder];
    throw new UsageError(`--lora-modules must be NAME=DIR: current value is "${text}"`);
  });
}
