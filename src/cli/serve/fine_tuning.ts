/** Fine-tuning by requests: its folder, and what becomes of trained adapters. */
import { join } from "@std/path";
import { GraftError } from "../../errors.ts";
import type { Adapters } from "../../http/adapters.ts";
import { ApiError } from "../../http/api_error.ts";
import type { FineTuning } from "../../http/server_parts.ts";
import { FileStore } from "../../jobs/file_store.ts";
import { Jobs, type TrainingTurns } from "../../jobs/jobs.ts";
import { runtimeArguments } from "../runtime_flags.ts";
import type { RequestFlags } from "./request_flags.ts";

export interface FineTuningSurroundings {
  /** The base as the command line names it, and as requests do. */
  readonly path: string;
  readonly id: string;
  /** Whether requests wait that a training should not slow down. */
  readonly isBusy: () => boolean;
  /** The adapters that requests choose, once the model is loaded. */
  readonly adapters: () => Adapters | undefined;
  /** Absent if nothing else trains. */
  readonly turns?: TrainingTurns;
  /** Told what the operator should know. */
  readonly onNote: (line: string) => void;
}

/** Training by requests, over the served model. */
export interface ServedFineTuning extends FineTuning {
  /** Loads the adapters of earlier jobs, the newest that there is room for. */
  loadTrained(): Promise<void>;
}

/** @param folder is made if it is missing */
export function openFineTuning(
  folder: string,
  flags: RequestFlags,
  { path, id, isBusy, adapters, turns, onNote }: FineTuningSurroundings,
): ServedFineTuning {
  const files = new FileStore(join(folder, "files"), onNote);
  const { jobMemoryBudget } = flags;
  const jobs = new Jobs({
    folder: join(folder, "jobs"),
    files,
    onDamaged: onNote,
    model: path,
    flags: [
      ...runtimeArguments(flags),
      ...(jobMemoryBudget === undefined ? [] : ["--memory-budget", jobMemoryBudget]),
    ],
    isBusy,
    turns,
    async onTrained(name, adapter) {
      try {
        const loaded = await adapters()?.load(name, adapter);
        return loaded === undefined ? "this server takes no adapters" : undefined;
      } catch (error) {
        // It was trained all the same.
        if (error instanceof ApiError || error instanceof GraftError) return error.message;
        throw error;
      }
    },
  });
  return {
    base: id,
    files,
    jobs,
    mostUploadBytes: flags.maxUpload * 1e6,
    async loadTrained() {
      for (const record of jobs.list().slice(0, flags.maxLoras).reverse()) {
        if (record.trainedModel === undefined) continue;
        try {
          await adapters()?.load(record.trainedModel, jobs.adapterFolder(record));
        } catch (error) {
          // The others, and the base, can answer.
          onNote(`${record.trainedModel} cannot be loaded: ${(error as Error).message}`);
        }
      }
    },
  };
}
