/**
 * Text work on a model's own files under a deadline and a memory limit.
 *
 * A tokenizer's patterns and a chat template come with a model and can be written to run for years.
 * They run in a worker; when it does not answer in time, the caller gets an error. The worker is
 * told to end, but code inside a regular expression does not listen (Deno 2.9): its thread goes on
 * until the process ends, so a command that fails this way must leave through `Deno.exit`.
 */
import { Worker } from "node:worker_threads";
import { BadInputError, UsageError } from "../errors.ts";
import { type ThreadWork, threadWork } from "../system/thread_work.ts";
import type { RenderOptions } from "./chat_template.ts";
import type { PlacedRow } from "./dataset.ts";
import type { EncodeOptions, EncodeResult } from "./encode.ts";
import { type Call, type Method, READY, type Reply, SETUP, type Setup } from "./guard_protocol.ts";
import type { Message } from "./messages.ts";
import type { DecodeOptions, TextFiles, TextProcessor } from "./text.ts";
import type { EncodeTextOptions } from "./tokenizer.ts";

export interface GuardOptions {
  /**
   * Time for a call, to which the size of its input adds; default `GRAFT_TEXT_DEADLINE_MS`, else
   * {@linkcode DEADLINE_MS}.
   */
  readonly deadlineMs?: number;
}

/** Enough for a small call on a slow core, and still under two seconds. */
const DEADLINE_MS = 1500;

/** Time that input adds: a tenth of the speed measured on a slow core. */
const MS_PER_CHARACTER = 0.02;
const MS_PER_FILE_BYTE = 0.001;

/** Memory of the worker: its tables take some eleven times the file, and four times that while they are made. */
const MEMORY_MB = 64;
const MEMORY_PER_FILE_BYTE = 64;

/**
 * Waiting is counted in ticks of this thread, so that a suspended machine costs nothing, and only as
 * far as the worker's thread computed in them: beside other programs the same work takes longer.
 * Ticks through which that thread slept count apart: a worker out of memory says no word and never
 * wakes.
 */
const TICK_MS = 50;
/** Times the deadline by the clock, after which work ends however little it could compute. */
const PATIENCE = 20;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A {@linkcode TextProcessor} in a worker of its own. */
export class GuardedText implements TextProcessor {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  /** Loading graft's own code is not on the clock. */
  readonly #ready: Promise<unknown>;
  /** The kernel's number of the worker's thread. */
  #thread: number | undefined;
  #setup: Setup | undefined;
  #failure: Error | undefined;
  #calls = 0;

  private constructor(readonly files: TextFiles, readonly options: GuardOptions) {
    const megabytes = MEMORY_MB + MEMORY_PER_FILE_BYTE * files.tokenizerJson.length / 2 ** 20;
    this.#worker = new Worker(new URL("./guard_worker.ts", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: Math.ceil(megabytes) },
    });
    this.#ready = new Promise((resolve, reject) => this.#waiting.set(READY, { resolve, reject }));
    this.#worker.on("message", (reply: Reply) => this.#settle(reply));
    this.#worker.on("error", (error: Error) => this.#fail(error));
  }

  /**
   * Starts a worker on a model's files.
   *
   * @throws {BadInputError} where they cannot be used, or not within the deadline
   */
  static async start(files: TextFiles, options: GuardOptions = {}): Promise<GuardedText> {
    const guarded = new GuardedText(files, options);
    try {
      guarded.#thread = await guarded.#ready as number | undefined;
      const extraMs = files.tokenizerJson.length * MS_PER_FILE_BYTE;
      guarded.#setup = await guarded.#call(SETUP, [files], extraMs) as Setup;
      return guarded;
    } catch (error) {
      guarded[Symbol.dispose]();
      throw error;
    }
  }

  get info(): TextProcessor["info"] {
    return this.#setup!.info;
  }

  get hasTemplate(): boolean {
    return this.#setup!.hasTemplate;
  }

  encodeRows(rows: readonly PlacedRow[], options: EncodeOptions): Promise<EncodeResult[]> {
    return this.#ask(
      "encodeRows",
      [rows, options],
      rows.reduce((sum, row) => sum + effort(row), 0),
    );
  }

  encode(texts: readonly string[], options?: EncodeTextOptions): Promise<number[][]> {
    return this.#ask("encode", [texts, options], characters(texts));
  }

  decode(
    sequences: readonly (readonly number[])[],
    options?: DecodeOptions,
  ): Promise<string[]> {
    const ids = sequences.reduce((sum, sequence) => sum + sequence.length, 0);
    return this.#ask("decode", [sequences, options], ids);
  }

  render(messages: readonly Message[], options?: RenderOptions): Promise<string> {
    return this.#ask("render", [messages, options], characters(messages));
  }

  /** Ends the worker; calls in the air are rejected. */
  [Symbol.dispose](): void {
    this.#fail(new Error("The text worker was closed"));
    this.#worker.terminate();
  }

  #ask<T>(method: Method, args: readonly unknown[], inputCharacters: number): Promise<T> {
    return this.#call(method, args, inputCharacters * MS_PER_CHARACTER) as Promise<T>;
  }

  async #call(method: Call["method"], args: readonly unknown[], extraMs: number): Promise<unknown> {
    if (this.#failure !== undefined) throw this.#failure;
    const deadlineMs = (this.options.deadlineMs ?? usualDeadlineMs()) + extraMs;
    const id = this.#calls++;
    const spent = this.#watch();
    const timer = setInterval(() => {
      if (spent() < deadlineMs) return;
      this.#fail(this.#tooSlow(method, deadlineMs));
      this.#worker.terminate();
    }, TICK_MS);
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        this.#worker.postMessage({ id, method, args } satisfies Call);
      });
    } finally {
      clearInterval(timer);
      this.#waiting.delete(id);
    }
  }

  /** Milliseconds of the deadline that a call has used up, to be asked every tick. */
  #watch(): () => number {
    let [waitedMs, asleepMs] = [0, 0];
    const began = this.#work();
    let before = began;
    return () => {
      const now = this.#work();
      waitedMs += TICK_MS;
      // Where the kernel tells nothing, the clock is what there is.
      if (began === undefined || before === undefined || now === undefined) return waitedMs;
      const slept = now.asleep && now.computedMs === before.computedMs;
      asleepMs = slept ? asleepMs + TICK_MS : 0;
      before = now;
      return Math.max(now.computedMs - began.computedMs, asleepMs, waitedMs / PATIENCE);
    };
  }

  #work(): ThreadWork | undefined {
    return this.#thread === undefined ? undefined : threadWork(this.#thread);
  }

  #tooSlow(method: Call["method"], deadlineMs: number): BadInputError {
    const { name, chatTemplate } = this.files;
    const culprit = method === "render" || (method === "encodeRows" && chatTemplate !== undefined)
      ? "a pattern of tokenizer.json or the chat template"
      : "a pattern of tokenizer.json";
    return new BadInputError(
      `${name}: text work did not end within ${(deadlineMs / 1000).toFixed(1)} s or its memory: ` +
        `${culprit} may run without end; use the model's original files`,
    );
  }

  #settle({ id, value, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(restored(error));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }
}

/** What the environment says where machines are very slow, as emulated ones are. */
function usualDeadlineMs(): number {
  const text = Deno.env.get("GRAFT_TEXT_DEADLINE_MS");
  if (!text) return DEADLINE_MS;
  const deadlineMs = Number(text);
  if (deadlineMs > 0) return deadlineMs;
  throw new UsageError(`GRAFT_TEXT_DEADLINE_MS must be > 0: current value is "${text}"`);
}

/** Errors lose their class on the way out of a worker. */
function restored({ name, message }: { readonly name: string; readonly message: string }): Error {
  if (name === "BadInputError") return new BadInputError(message);
  if (name === "UsageError") return new UsageError(message);
  const error = new Error(message);
  error.name = name;
  return error;
}

/** Characters that encoding a row handles: beginnings of a chat are rendered for each of its turns. */
function effort({ row }: PlacedRow): number {
  return characters(row) * (row.kind === "messages" ? row.messages.length + 1 : 2);
}

/** Characters of all strings in a value. */
function characters(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  let sum = 0;
  for (const child of Object.values(value)) sum += characters(child);
  return sum;
}
