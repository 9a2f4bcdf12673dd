/** `graft train` as a process that gives way to everything else, for one job. */
import { join } from "@std/path";
import { setPriority } from "node:os";
import { TextLineStream } from "@std/streams";
import { EXIT } from "../errors.ts";
import { writeKernelFile } from "../system/kernel_files.ts";
import { startSelf } from "../system/own_process.ts";
import { hasCheckpoints } from "../train/checkpoint_files.ts";
import type { JobParameters } from "./job_record.ts";

/** The kernel ends it first when memory is short: it can continue. */
const OOM_SCORE_ADJ = "1000";
const LOWEST_PRIORITY = 19;
/** Prefix of the line in which a verb gives its error (cli/terminal/exit.ts). */
const ERROR = "graft: ";

/** How a training ended. */
export type TrainingEnd =
  | { readonly ended: "done" }
  /** It was told to, and can continue. */
  | { readonly ended: "stopped" }
  /** By the kernel or somebody else; it can continue. */
  | { readonly ended: "killed"; readonly why: string }
  | { readonly ended: "failed"; readonly why: string };

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
  /** Told of each line of standard error. */
  readonly onLine: (line: string) => void;
}

export class TrainingProcess {
  readonly #child: Deno.ChildProcess;
  #told: string | undefined;
  #paused = false;
  /** Resolves when it has ended. */
  readonly ended: Promise<TrainingEnd>;

  constructor({ model, data, adapter, parameters, flags, onLine }: TrainingOptions) {
    const resume = hasCheckpoints(join(adapter, "checkpoints"));
    this.#child = startSelf([
      "train",
      ...["--model", model, "--data", data, "--adapter-path", adapter],
      ...(resume ? ["--resume"] : ["--overwrite", ...flagsOf(parameters)]),
      ...["--steps-per-report", "1"],
      ...flags,
    ], "piped");
    writeKernelFile(`/proc/${this.#child.pid}/oom_score_adj`, OOM_SCORE_ADJ);
    try {
      setPriority(this.#child.pid, LOWEST_PRIORITY);
    } catch {
      // It may have ended already.
    }
    this.ended = this.#watch(onLine);
  }

  /** Whether it waits for requests. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Stops or continues it where it is, within a moment; its memory stays. */
  pause(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#signal(paused ? "SIGSTOP" : "SIGCONT");
  }

  /** Ends it after a checkpoint. */
  stop(): void {
    this.#told = "stop";
    this.pause(false);
    this.#signal("SIGTERM");
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended by itself.
    }
  }

  async #watch(onLine: (line: string) => void): Promise<TrainingEnd> {
    const drained = this.#child.stdout.pipeTo(new WritableStream()).catch(() => {});
    let error: string | undefined;
    const lines: ReadableStream<string> = this.#child.stderr.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      if (line.trim() === "") continue;
      if (line.startsWith(ERROR)) error = line.slice(ERROR.length);
      onLine(line);
    }
    const { code, signal } = await this.#child.status;
    await drained;
    if (code === EXIT.ok && signal === null) return { ended: "done" };
    if (this.#told !== undefined || code === EXIT.interrupted) return { ended: "stopped" };
    if (signal !== null) return { ended: "killed", why: `it was killed by ${signal}` };
    return { ended: "failed", why: error ?? `it ended with ${code}` };
  }
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
