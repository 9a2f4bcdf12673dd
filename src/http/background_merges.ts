/** Merges adapters beside the server, one after another, and opens the merged models. */
import { join } from "@std/path";
import { endOrphans } from "../jobs/end_orphans.ts";
import type { YieldingProcess } from "../jobs/yielding_process.ts";
import { exists, makeDirectory, removeDirectory } from "../system/durable_files.ts";
import type { InferenceModel } from "../tasks/inference_model.ts";
import {
  certifiedGainKept,
  hasMergedModel,
  isMergedFolderName,
  mergedFolderName,
} from "../tasks/merged_folder.ts";
import { ApiError } from "./api_error.ts";

export interface BackgroundMergesOptions {
  /** Folder of merged models, each in a folder of its own. */
  readonly folder: string;
  readonly baseDigest: string;
  /** Starts a process that merges an adapter into the pristine base. */
  readonly start: (
    adapterPath: string,
    savePath: string,
  ) => Pick<YieldingProcess, "ended" | "stop">;
  /** Opens a merged model, ready to answer. */
  readonly open: (path: string) => Promise<InferenceModel>;
}

/** A merged model, opened. */
export interface Merged {
  readonly model: InferenceModel;
  readonly path: string;
  /** Share of the adapter's gain, if it was measured. */
  readonly gainKept?: number;
}

/** Merged models that stay on disk for when their adapter is loaded again, besides those in use. */
const MOST_KEPT = 4;

export class BackgroundMerges {
  readonly #options: BackgroundMergesOptions;
  /** How many names answer with each folder. */
  readonly #users = new Map<string, number>();
  readonly #closed = new AbortController();
  #last: Promise<unknown> = Promise.resolve();

  /** Opens the folder, and ends merges that a killed server has left. */
  constructor(options: BackgroundMergesOptions) {
    this.#options = options;
    makeDirectory(options.folder);
    endOrphans(options.folder);
  }

  /**
   * A model that has an adapter merged, from the folder if it is there already.
   *
   * @param signal ends the merge
   * @returns its caller owns it, and calls {@linkcode release} with the path once it is disposed of
   * @throws {ApiError} if the merge fails or is refused, with its reason
   */
  merged(
    adapterPath: string,
    signal: AbortSignal,
  ): Promise<Merged> {
    const either = AbortSignal.any([signal, this.#closed.signal]);
    const { folder, baseDigest, open } = this.#options;
    const done = this.#last.then(async () => {
      const path = join(folder, mergedFolderName(baseDigest, adapterPath));
      this.#users.set(path, (this.#users.get(path) ?? 0) + 1);
      try {
        if (!hasMergedModel(path)) await this.#merge(adapterPath, path, either);
        either.throwIfAborted();
        return { model: await open(path), path, gainKept: certifiedGainKept(path) };
      } catch (error) {
        this.release(path);
        throw error;
      }
    });
    this.#last = done.catch(() => {});
    return done;
  }

  /** Lets go of a merged model's folder; those that were released last are kept. */
  release(path: string): void {
    const others = (this.#users.get(path) ?? 1) - 1;
    if (others > 0) this.#users.set(path, others);
    else this.#users.delete(path);
    try {
      this.#removeOld(path);
    } catch {
      // What stays costs room, and the next release tries again.
    }
  }

  #removeOld(path: string): void {
    const { folder } = this.#options;
    if (exists(path)) Deno.utimeSync(path, new Date(), new Date());
    const kept = Array.from(Deno.readDirSync(folder), ({ name }) => name)
      .filter(isMergedFolderName)
      .map((name) => join(folder, name))
      .filter((path) => !this.#users.has(path))
      .map((path) => ({ path, at: Deno.statSync(path).mtime?.getTime() ?? 0 }))
      .sort((a, b) => b.at - a.at);
    for (const { path } of kept.slice(MOST_KEPT)) removeDirectory(path);
  }

  /** Ends the merge in work; those that wait fail. */
  async close(): Promise<void> {
    this.#closed.abort(new ApiError(503, "The server is ending"));
    await this.#last;
  }

  async #merge(adapterPath: string, savePath: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const process = this.#options.start(adapterPath, savePath);
    const stop = () => process.stop();
    signal.addEventListener("abort", stop, { once: true });
    const end = await process.ended;
    signal.removeEventListener("abort", stop);
    if (end.ended === "done") return;
    signal.throwIfAborted();
    throw new ApiError(400, end.ended === "stopped" ? "The merge was stopped" : end.why, {
      code: "merge_failed",
    });
  }
}
