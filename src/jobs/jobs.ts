/**
 * Fine-tuning jobs, one at a time, each in a folder of its own. A job is a process beside the server: it
 * waits while requests wait, and a restart of the server continues it after its last checkpoint.
 */
import { join, resolve } from "@std/path";
import { StorageError } from "../errors.ts";
import { exists, makeDirectory, removeDirectory, replaceFile } from "../system/durable_files.ts";
import { unixSeconds } from "../system/unix_time.ts";
import { listCheckpoints } from "../train/checkpoint_files.ts";
import { endOrphans } from "./end_orphans.ts";
import { EventLog, type JobEvent } from "./event_log.ts";
import type { FileStore, StoredFile } from "./file_store.ts";
import { isId, type JobParameters, type JobRecord, newId, readJob } from "./job_record.ts";
import { MetricsTail } from "./metrics_tail.ts";
import { readRecords } from "./read_record.ts";
import { startTraining } from "./training_process.ts";
import type { ProcessEnd, YieldingProcess } from "./yielding_process.ts";

/** How often a job looks for its turn, and whether it should give it up. */
const TURN_MS = 1000;

/** Kills after which a job fails. */
const MOST_KILLS = 3;

/** A saved step that a job could go on from. */
export interface JobCheckpoint {
  readonly step: number;
  /** Seconds since 1970. */
  readonly created: number;
}

export interface NewJob {
  readonly model: string;
  readonly suffix?: string;
  readonly trainingFile: StoredFile;
  readonly validationFile?: StoredFile;
  readonly parameters: JobParameters;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Says when a job may train beside other trainings. */
export interface TrainingTurns {
  /** The turn, until it is disposed of; `undefined` while another training has it. */
  claim(): Disposable | undefined;
  /** Whether a training that goes before jobs waits for it. */
  isWanted(): boolean;
}

export interface JobsOptions {
  /** Folder of all jobs. */
  readonly folder: string;
  /** Told of each job whose record cannot be read: the others go on. */
  readonly onDamaged: (problem: string) => void;
  readonly files: FileStore;
  /** The base, as the command line names it. */
  readonly model: string;
  /** Flags of each training: of the runtime, and of memory. */
  readonly flags: readonly string[];
  /** Whether requests wait that a training should not slow down. */
  readonly isBusy: () => boolean;
  /** Absent if nothing else trains. */
  readonly turns?: TrainingTurns;
  /**
   * Called with a trained adapter's name and folder before its job has succeeded; returns why requests
   * cannot name it, `undefined` if they can.
   */
  readonly onTrained: (name: string, folder: string) => Promise<string | undefined>;
}

export class Jobs {
  readonly #options: JobsOptions;
  readonly #records = new Map<string, JobRecord>();
  readonly #kills = new Map<string, number>();
  #running: { readonly id: string; readonly process: YieldingProcess } | undefined;
  /** Looks for a turn again. */
  #waiting: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #work: Promise<void> = Promise.resolve();

  /** Opens the folder; unfinished jobs go on when {@linkcode start} is called. */
  constructor(options: JobsOptions) {
    this.#options = { ...options, folder: resolve(options.folder) };
    makeDirectory(options.folder);
    const read = (name: string) =>
      isId(name) ? readJob(join(options.folder, name, RECORD)) : undefined;
    for (const record of readRecords(options.folder, read, options.onDamaged)) {
      this.#records.set(record.id, record);
    }
  }

  /** The newest first. */
  list(): readonly JobRecord[] {
    return [...this.#records.values()]
      .sort((a, b) => b.created - a.created || a.id.localeCompare(b.id));
  }

  get(id: string): JobRecord | undefined {
    return this.#records.get(id);
  }

  /** Folder of a job's adapter. */
  adapterFolder({ id }: Pick<JobRecord, "id">): string {
    return join(this.#options.folder, id, "adapter");
  }

  /** Begins with the unfinished jobs. */
  start(): void {
    endOrphans(this.#options.folder);
    this.#next();
  }

  create({ trainingFile, validationFile, ...job }: NewJob): JobRecord {
    const record: JobRecord = {
      id: newId("ftjob"),
      state: "queued",
      created: unixSeconds(),
      trainingFile: trainingFile.id,
      ...(validationFile === undefined ? {} : { validationFile: validationFile.id }),
      ...job,
    };
    const folder = join(this.#options.folder, record.id);
    const data = join(folder, "data");
    makeDirectory(data);
    // The job keeps its data, whatever becomes of the uploads.
    const copy = (part: string, file: StoredFile) =>
      replaceFile(
        join(data, `${part}.${extensionOf(file)}`),
        this.#options.files.content(file),
      );
    copy("train", trainingFile);
    if (validationFile !== undefined) copy("valid", validationFile);
    this.#save(record);
    this.#event(record.id, "info", "Created, and queued");
    this.#next();
    return record;
  }

  /** Ends a job, and forgets what it has learned. */
  cancel(record: JobRecord): JobRecord {
    const cancelled = this.#save(endedWith(record, { state: "cancelled" }));
    this.#event(record.id, "info", "Cancelled");
    if (this.#running?.id === record.id) this.#running.process.stop();
    else this.#forget(record);
    return cancelled;
  }

  /** Stops a job after a checkpoint, until it is resumed. */
  pause(record: JobRecord): JobRecord {
    const paused = this.#save({ ...record, state: "paused" });
    this.#event(record.id, "info", "Paused");
    if (this.#running?.id === record.id) this.#running.process.stop();
    return paused;
  }

  /** Puts a paused job into the queue. */
  resume(record: JobRecord): JobRecord {
    const queued = this.#save({ ...record, state: "queued" });
    this.#event(record.id, "info", "Resumed, and queued");
    this.#next();
    return queued;
  }

  /** What happened in a job. */
  events({ id }: Pick<JobRecord, "id">): EventLog {
    return new EventLog(join(this.#options.folder, id, "events.jsonl"));
  }

  /** Checkpoints of a job, the newest first. */
  checkpoints(record: JobRecord): readonly JobCheckpoint[] {
    return listCheckpoints(join(this.adapterFolder(record), "checkpoints")).map(
      ({ path, step }) => {
        const { mtime } = Deno.statSync(path);
        return { step, created: Math.floor((mtime?.getTime() ?? 0) / 1000) };
      },
    );
  }

  /** Stops the job in work after a checkpoint; the next start goes on with it. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#waiting);
    this.#running?.process.stop();
    await this.#work;
  }

  /** Removes what a cancelled job has learned. */
  #forget(record: JobRecord): void {
    const folder = this.adapterFolder(record);
    if (exists(folder)) removeDirectory(folder);
  }

  /** Starts the oldest queued job if none is in work, once it is its turn. */
  #next(): void {
    clearTimeout(this.#waiting);
    if (this.#closed || this.#running !== undefined) return;
    const oldest = this.list().findLast(({ state }) => state === "queued" || state === "running");
    if (oldest === undefined) return;
    const turn = this.#options.turns === undefined ? ALWAYS : this.#options.turns.claim();
    if (turn === undefined) {
      this.#waiting = setTimeout(() => this.#next(), TURN_MS);
      return;
    }
    const { id } = oldest;
    const run = this.#run(oldest).catch((error) => this.#fail(this.#records.get(id)!, `${error}`));
    this.#work = run.then(() => {
      turn[Symbol.dispose]();
      this.#running = undefined;
      this.#next();
    });
  }

  async #run(record: JobRecord): Promise<void> {
    const { id } = record;
    const folder = join(this.#options.folder, id);
    const adapter = this.adapterFolder(record);
    this.#note({ ...record, state: "running" });
    this.#event(id, "info", "Training begins or goes on");
    const metrics = new MetricsTail(join(adapter, "metrics.jsonl"));
    const tell = () => {
      try {
        for (const { message, data } of metrics.fresh()) this.#event(id, "info", message, data);
      } catch {
        // Out of descriptors, say: the next line finds them.
      }
    };
    const { model, flags, isBusy } = this.#options;
    const process = startTraining(
      { model, data: join(folder, "data"), adapter, parameters: record.parameters, flags },
      { isBusy, onLine: tell },
    );
    this.#running = { id, process };
    const watch = setInterval(() => {
      if (!this.#isTurnOver(id)) return;
      clearInterval(watch);
      process.stop();
    }, TURN_MS);
    const end = await process.ended;
    clearInterval(watch);
    tell();
    await this.#ended(this.#records.get(id)!, end).catch((error) => {
      this.#fail(this.#records.get(id)!, (error as Error).message);
    });
  }

  /** Whether a job has to let another training go first; says so. */
  #isTurnOver(id: string): boolean {
    const record = this.#records.get(id)!;
    if (record.state !== "running" || this.#options.turns?.isWanted() !== true) return false;
    this.#note({ ...record, state: "queued" });
    this.#event(id, "info", "Lets a round of the service train first, and goes on after it");
    return true;
  }

  async #ended(record: JobRecord, end: ProcessEnd): Promise<void> {
    const { id } = record;
    if (record.state === "cancelled") return this.#forget(record);
    if (end.ended === "stopped") {
      // Paused, or queued behind a round, or the server ends: then the record still says that it runs.
      return;
    }
    if (end.ended === "killed") {
      const kills = (this.#kills.get(id) ?? 0) + 1;
      this.#kills.set(id, kills);
      if (kills < MOST_KILLS) {
        this.#event(id, "warn", `Goes on after its last checkpoint: ${end.why}`);
        return;
      }
    }
    if (end.ended !== "done") return this.#fail(record, end.why);
    const name = `ft:${record.model}:${record.suffix ?? "graft"}:${id.slice(-8)}`;
    const folder = this.adapterFolder(record);
    const hindrance = await this.#options.onTrained(name, folder);
    const served = hindrance === undefined;
    this.#note(
      endedWith(record, { state: "succeeded", ...(served ? { trainedModel: name } : {}) }),
    );
    this.#event(
      id,
      "info",
      served
        ? `Succeeded: the model is ${name}`
        : `Succeeded: the adapter in ${folder} can be merged. Requests cannot name it: ${hindrance}`,
    );
  }

  #fail(record: JobRecord, error: string): void {
    this.#note(endedWith(record, { state: "failed", error }));
    this.#event(record.id, "error", error);
  }

  #save(record: JobRecord): JobRecord {
    const path = join(this.#options.folder, record.id, RECORD);
    replaceFile(path, new TextEncoder().encode(JSON.stringify(record)));
    this.#records.set(record.id, record);
    return record;
  }

  /**
   * As {@linkcode Jobs.#save}, for what nobody has asked for: a disk that is full ends no server. A later
   * start goes on from what the disk has.
   */
  #note(record: JobRecord): void {
    this.#records.set(record.id, record);
    try {
      this.#save(record);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  }

  #event(
    id: string,
    level: JobEvent["level"],
    message: string,
    data?: Readonly<Record<string, number>>,
  ): void {
    const event: JobEvent = {
      id: newId("ftevent"),
      created: unixSeconds(),
      level,
      message,
      ...(data === undefined ? {} : { data }),
    };
    try {
      this.events({ id }).append(event);
    } catch {
      // A disk that is full: the job matters more.
    }
  }
}

const endedWith = (record: JobRecord, change: Partial<JobRecord>): JobRecord => ({
  ...record,
  ...change,
  finished: unixSeconds(),
});

/** The turn where nothing else trains. */
const ALWAYS: Disposable = { [Symbol.dispose]() {} };

const RECORD = "job.json";

const extensionOf = ({ filename }: StoredFile) =>
  /\.(csv|tsv)$/i.exec(filename)?.[1].toLowerCase() ?? "jsonl";
