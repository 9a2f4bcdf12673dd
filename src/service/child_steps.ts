/** The job's steps as separate processes: `graft train`, `merge` and `eval` on a cycle's folder. */
import { join, resolve } from "@std/path";
import { TextLineStream } from "@std/streams";
import { EXIT, GraftError } from "../errors.ts";
import type { ColumnNames } from "../data/rows.ts";
import { exists, removeDirectory, replaceFile } from "../system/durable_files.ts";
import type { Log } from "../system/journal_log.ts";
import { endOrphans } from "../jobs/end_orphans.ts";
import { writeKernelFile } from "../system/kernel_files.ts";
import { startSelf } from "../system/own_process.ts";
import { readSmallFile } from "../system/small_file.ts";
import { hasCheckpoints } from "../train/checkpoint_files.ts";
import type { CycleData, JobSteps, StepEnd } from "./job.ts";
import type { Score } from "./records.ts";
import { countMissing, decodeDigests } from "./row_digests.ts";
import { takeSnapshot } from "./snapshot.ts";

export interface ChildSettings {
  /** The base model, as the command line names it. */
  readonly model: string;
  /** Folder of the training data. */
  readonly data: string;
  /** Text of a configuration file for `graft train`. */
  readonly trainConfig: string;
  /** Column names from that configuration. */
  readonly columns?: ColumnNames;
  readonly validationSplit: number;
  /** Flags of the runtime for every child: `--threads 2`. */
  readonly runtimeFlags: readonly string[];
  /**
   * Waits until nothing else trains in the service's folder; returns `undefined` if the signal came first.
   * Absent if nothing else does.
   */
  readonly claimTurn?: (signal: AbortSignal) => Promise<Disposable | undefined>;
  /** Flags of `graft eval` for reading the data, as the configuration sets them for training. */
  readonly dataFlags: readonly string[];
}

/** The kernel ends a child first when memory is short, because its work can be repeated. */
const OOM_SCORE_ADJ = "1000";
/** File of a cycle, and of its model, with the digests of the rows that it learned from (row_digests.ts). */
const LEARNED = "rows";
/** Lines of a child's standard error that a failure quotes. */
const QUOTED_LINES = 3;

/** Prefix of the line in which a verb gives its error (cli/terminal/exit.ts). */
const ERROR = "graft: ";

/** End of a process. */
interface Ended {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  readonly stdout: string;
  /** Its error message; otherwise the last lines of its standard error. */
  readonly message: string;
}

export class ChildSteps implements JobSteps, Disposable {
  #turn: Disposable | undefined;

  /** @param signal ends the current child in order */
  constructor(
    readonly settings: ChildSettings,
    readonly log: Log,
    readonly signal: AbortSignal,
  ) {}

  [Symbol.dispose](): void {
    this.#turn?.[Symbol.dispose]();
  }

  async snapshot(cycle: string, inUse: string | null): Promise<CycleData | undefined> {
    const { data, trainConfig } = this.settings;
    const snapshot = await takeSnapshot(data, join(cycle, "data"), this.settings);
    if (snapshot === undefined) return undefined;
    // A resume needs the flags with which the training began, even if the operator has changed the file
    // since.
    replaceFile(join(cycle, "train.yaml"), new TextEncoder().encode(trainConfig));
    replaceFile(join(cycle, LEARNED), new Uint8Array(snapshot.learned.buffer));
    const before = inUse === null ? undefined : learnedBy(inUse, this.log);
    const forgotten = before === undefined ? 0 : countMissing(before, snapshot.all);
    return { ...snapshot, forgotten };
  }

  async train(cycle: string): Promise<StepEnd> {
    endOrphans(cycle);
    const adapter = resolve(cycle, "adapter");
    const resume = hasCheckpoints(join(adapter, "checkpoints"));
    const end = endOf(
      await this.#run(cycle, [
        "train",
        ...["--config", join(cycle, "train.yaml")],
        ...["--model", this.settings.model, "--data", join(cycle, "data")],
        ...["--adapter-path", adapter, resume ? "--resume" : "--overwrite"],
        ...this.settings.runtimeFlags,
      ]),
    );
    // Too little memory, or a loss that diverged, says nothing about the data, which may be tried again.
    return end.ended === "refused" ? { ...end, ended: "failed", code: EXIT.refused } : end;
  }

  async merge(cycle: string): Promise<StepEnd> {
    endOrphans(cycle);
    const path = resolve(cycle, "model");
    if (exists(path)) removeDirectory(path);
    return endOf(
      await this.#run(cycle, [
        "merge",
        ...["--model", this.settings.model, "--adapter-path", join(cycle, "adapter")],
        ...["--data", join(cycle, "data"), "--save-path", path, "--no-latency"],
        ...this.settings.runtimeFlags,
      ]),
    );
  }

  async evaluate(cycle: string, model: "candidate" | string | null): Promise<StepEnd<Score>> {
    const path = model === "candidate" ? join(cycle, "model") : model ?? this.settings.model;
    const ended = await this.#run(cycle, [
      "eval",
      path,
      ...["--data", join(cycle, "data"), "--json"],
      ...this.settings.dataFlags,
      ...this.settings.runtimeFlags,
    ]);
    const end = endOf(ended);
    if (end.ended !== "done") return end;
    const { loss, accuracy } = JSON.parse(ended.stdout);
    return { ended: "done", value: { loss: loss ?? Infinity, accuracy } };
  }

  async #run(cycle: string, args: readonly string[]): Promise<Ended> {
    // From the first child on; a round that finds nothing new holds up no job.
    this.#turn ??= await this.settings.claimTurn?.(this.signal);
    if (this.signal.aborted) {
      return { code: EXIT.interrupted, signal: null, stdout: "", message: "" };
    }
    const child = startSelf(args, "piped");
    const step = args[0];
    if (!writeKernelFile(`/proc/${child.pid}/oom_score_adj`, OOM_SCORE_ADJ)) {
      this.log("warning", `Cannot mark ${step} as the first to go when memory is short`);
    }
    const stop = () => {
      try {
        child.kill("SIGTERM");
      } catch {
        // it has ended by itself
      }
    };
    this.signal.addEventListener("abort", stop);
    try {
      const stdout = new Response(child.stdout).text();
      const last: string[] = [];
      let error: string | undefined;
      const lines: ReadableStream<string> = child.stderr.pipeThrough(new TextDecoderStream())
        .pipeThrough(new TextLineStream());
      for await (const line of lines) {
        if (line.trim() === "") continue;
        this.log("info", line, { CYCLE: cycle.split("/").at(-1), STEP: step });
        if (line.startsWith(ERROR)) error = line.slice(ERROR.length);
        last.push(line);
        if (last.length > QUOTED_LINES) last.shift();
      }
      const { code, signal } = await child.status;
      return { code, signal, stdout: await stdout, message: error ?? last.join("\n") };
    } finally {
      this.signal.removeEventListener("abort", stop);
    }
  }
}

/** Digests of the rows that a model learned from; `undefined` if they are not there, or cannot be read. */
function learnedBy(model: string, log: Log): BigUint64Array | undefined {
  try {
    const bytes = readSmallFile(join(model, LEARNED), Infinity);
    return bytes === undefined ? undefined : decodeDigests(bytes);
  } catch (error) {
    if (!(error instanceof GraftError)) throw error;
    log("warning", `${error.message}: rows that are no longer there are not counted`);
    return undefined;
  }
}

function endOf({ code, signal, message }: Ended): StepEnd {
  // A process that receives the signal before it listens is ended by it.
  if (signal === "SIGTERM" || code === EXIT.interrupted) return { ended: "stopped" };
  if (signal !== null) return { ended: "killed", why: `it was killed by ${signal}` };
  if (code === EXIT.ok) return { ended: "done", value: undefined };
  if (code === EXIT.refused) return { ended: "refused", why: message };
  return { ended: "failed", why: message || `it ended with ${code}`, code };
}
