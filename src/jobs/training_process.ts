/** `graft train` as a process beside the server, for one job. */
import { join } from "@std/path";
import { hasCheckpoints } from "../train/checkpoint_files.ts";
import type { JobParameters } from "./job_record.ts";
import { type ProcessSurroundings, YieldingProcess } from "./yielding_process.ts";

export interface TrainingOptions {
  /** The base, as the command line names it. */
  readonly model: string;
  /** Folder with `train.jsonl` and perhaps `valid.jsonl`. */
  readonly data: string;
  /** Folder for the adapter; with a checkpoint, the training continues. */
  readonly adapter: string;
  readonly parameters: JobParameters;
  /** More flags: of the runtime, and of memory. */
  readonly flags: readonly string[];
}

/** Starts a training; told to stop, it ends after a checkpoint. */
export function startTraining(
  { model, data, adapter, parameters, flags }: TrainingOptions,
  surroundings: ProcessSurroundings,
): YieldingProcess {
  const resume = hasCheckpoints(join(adapter, "checkpoints"));
  return new YieldingProcess([
    "train",
    ...["--model", model, "--data", data, "--adapter-path", adapter],
    ...(resume ? ["--resume"] : ["--overwrite", ...flagsOf(parameters)]),
    ...["--steps-per-report", "1"],
    ...flags,
  ], surroundings);
}

function flagsOf(parameters: JobParameters): string[] {
  const { targetModules, ...numbers } = parameters;
  const named = {
    epochs: "--epochs",
    batchSize: "--batch-size",
    learningRate: "--learning-rate",
    rank: "--rank",
    loraAlpha: "--lora-alpha",
    loraDropout: "--lora-dropout",
    seed: "--seed",
  } as const;
  return [
    ...Object.entries(named).flatMap(([key, flag]) => {
      const value = numbers[key as keyof typeof numbers];
      return value === undefined ? [] : [flag, String(value)];
    }),
    ...(targetModules === undefined ? [] : ["--target-modules", targetModules.join()]),
  ];
}
