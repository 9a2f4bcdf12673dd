/**
 * Text work on a model's own files under a deadline and a memory limit.
 *
 * A tokenizer's patterns and a chat template come with a model and can be written to run for years or to
 * multiply their text endlessly. They run in a separate process (`guard_process.ts`): V8 ends a whole
 * process that is out of memory, and a regular expression cannot be interrupted. If a call ends the
 * process, or does not end, that call fails and the next one gets a new process.
 */
import { BadInputError, RuntimeFailure, UsageError } from "../errors.ts";
import type { RenderOptions } from "./chat_template.ts";
import type { PlacedRow } from "./dataset.ts";
import type { EncodeOptions, EncodeResult } from "./encode.ts";
import { ChildEndedError, TextChild } from "./guard_child.ts";
import { deadlineMs, heapMegabytes, memoryBytes, watched } from "./guard_limits.ts";
import { type Call, type Method, SETUP, type Setup } from "./guard_protocol.ts";
import type { Message } from "./messages.ts";
import { type PackedRows, unpackRows } from "./packed_rows.ts";
import { characters, checkCharacters, rowCharacters } from "./row_size.ts";
import type { DecodeOptions, TextFiles, TextProcessor } from "./text.ts";
import type { EncodeTextOptions } from "./tokenizer.ts";

/** Bounds of the process that works on text. */
export interface GuardOptions {
  /**
   * Deadline of a call, extended by the size of its input; default `GRAFT_TEXT_DEADLINE_MS`, else
   * {@linkcode DEADLINE_MS}.
   */
  readonly deadlineMs?: number;
}

/** A call was ended because it took too long or too much memory. */
class OverrunError extends BadInputError {}

/** A {@linkcode TextProcessor} in a separate process. */
export class GuardedText implements TextProcessor {
  #child: Promise<TextChild> | undefined;
  #setup: Setup | undefined;
  /** Settles when the earlier calls are done: only one call uses the process at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(readonly files: TextFiles, readonly options: GuardOptions) {}

  /**
   * Starts a process on a model's files.
   *
   * @throws {BadInputError} if they cannot be used, or not within the deadline
   * @throws {RuntimeFailure} if the system cannot start it
   */
  static async start(files: TextFiles, options: GuardOptions = {}): Promise<GuardedText> {
    const guarded = new GuardedText(files, options);
    try {
      await guarded.#running();
      return guarded;
    } catch (error) {
      guarded[Symbol.dispose]();
      throw error;
    }
  }

  /** What the tokenizer's files say. */
  get info(): TextProcessor["info"] {
    return this.#setup!.info;
  }

  /** Whether there is a chat template. */
  get hasTemplate(): boolean {
    return this.#setup!.hasTemplate;
  }

  /** Encodes rows for training; the first that cannot be encoded is an error that names its place. */
  async encodeRows(rows: readonly PlacedRow[], options: EncodeOptions): Promise<EncodeResult[]> {
    for (const { row, place } of rows) checkCharacters(rowCharacters(row), place);
    try {
      return await this.#encodeRows(rows, options);
    } catch (error) {
      if (!(error instanceof OverrunError)) throw error;
      if (rows.length === 1) throw new BadInputError(`${rows[0].place}: ${error.message}`);
    }
    // Each row separately, so that the error names its row.
    const results: EncodeResult[] = [];
    for (const row of rows) results.push(...await this.encodeRows([row], options));
    return results;
  }

  /** Encodes texts. */
  async encode(texts: readonly string[], options?: EncodeTextOptions): Promise<number[][]> {
    for (const text of texts) checkCharacters(text.length, this.files.name);
    return await this.#ask("encode", [texts, options], characters(texts));
  }

  /** Turns sequences of ids into texts. */
  decode(
    sequences: readonly (readonly number[])[],
    options?: DecodeOptions,
  ): Promise<string[]> {
    const ids = sequences.reduce((sum, sequence) => sum + sequence.length, 0);
    return this.#ask("decode", [sequences, options], ids);
  }

  /** Renders messages with the chat template. */
  async render(messages: readonly Message[], options?: RenderOptions): Promise<string> {
    const size = characters([messages, options]);
    checkCharacters(size, this.files.name);
    return await this.#ask("render", [messages, options], size);
  }

  /** Ends the process; pending calls are rejected. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#child?.then((child) => child[Symbol.dispose](), () => {});
  }

  async #encodeRows(rows: readonly PlacedRow[], options: EncodeOptions): Promise<EncodeResult[]> {
    const effort = rows.reduce((sum, row) => sum + effortOf(row, options), 0);
    return unpackRows(await this.#ask<PackedRows>("encodeRows", [rows, options], effort));
  }

  #ask<T>(method: Method, args: readonly unknown[], inputCharacters: number): Promise<T> {
    const limitMs = deadlineMs(this.options.deadlineMs, { characters: inputCharacters });
    const answer = this.#turn.then(async () =>
      await this.#within(await this.#running(), { method, args }, limitMs) as T
    );
    this.#turn = answer.catch(() => {});
    return answer;
  }

  /** The process with the model's files, started if there is none. */
  #running(): Promise<TextChild> {
    if (this.#closed) return Promise.reject(new Error("The text process was closed"));
    return this.#child ??= this.#begin().catch((error) => {
      this.#child = undefined;
      throw error;
    });
  }

  get #fileBytes(): number {
    const { tokenizerJson, tokenizerConfig, specialTokensMap, chatTemplate } = this.files;
    return tokenizerJson.length + (tokenizerConfig?.length ?? 0) +
      (specialTokensMap?.length ?? 0) + (chatTemplate?.text.length ?? 0);
  }

  async #begin(): Promise<TextChild> {
    const fileBytes = this.#fileBytes;
    const child = await started(heapMegabytes(fileBytes));
    try {
      const limitMs = deadlineMs(this.options.deadlineMs, { fileBytes });
      this.#setup = await this.#within(
        child,
        { method: SETUP, args: [this.files] },
        limitMs,
      ) as Setup;
      return child;
    } catch (error) {
      child[Symbol.dispose]();
      throw error;
    }
  }

  /** Runs one call of a process, which is ended if it exceeds a limit. */
  async #within(child: TextChild, call: Call, limitMs: number): Promise<unknown> {
    const limits = { ms: limitMs, memoryBytes: memoryBytes(this.#fileBytes) };
    const watch = watched(child, limits);
    try {
      const { value, error } = await child.ask(call);
      if (error !== undefined) throw restored(error);
      return value;
    } catch (error) {
      if (!(error instanceof ChildEndedError)) throw error;
      child[Symbol.dispose]();
      this.#child = undefined;
      if (this.#closed) throw new Error("The text process was closed");
      const overrun = this.#overrun(call.method, watch.overrun, limits);
      // The next call need not wait for the start; if that fails, the call reports it.
      if (call.method !== SETUP) this.#running().catch(() => {});
      throw overrun;
    } finally {
      watch[Symbol.dispose]();
    }
  }

  #overrun(
    method: Call["method"],
    what: "time" | "memory" | undefined,
    limits: { readonly ms: number; readonly memoryBytes: number },
  ): OverrunError {
    const { name, chatTemplate } = this.files;
    const culprit = method === "render" || (method === "encodeRows" && chatTemplate !== undefined)
      ? "a pattern of tokenizer.json or the chat template"
      : "a pattern of tokenizer.json";
    const limit = what === "time"
      ? `did not end within ${(limits.ms / 1000).toFixed(1)} s`
      : `needs more than ${(limits.memoryBytes / 1e6).toFixed()} MB of memory`;
    const advice = method === SETUP
      ? "use the model's original files"
      : `the text is too long for it, or ${culprit} runs endlessly: shorten the text, or use the ` +
        "model's original files";
    return new OverrunError(`${name}: text work ${limit}: ${advice}`);
  }
}

async function started(heapMegabytes: number): Promise<TextChild> {
  try {
    return await TextChild.start(heapMegabytes);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new RuntimeFailure(
      `Cannot start the process that reads text (${Deno.execPath()}): ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Errors lose their class on the way out of a process. */
function restored({ name, message }: { readonly name: string; readonly message: string }): Error {
  if (name === "BadInputError") return new BadInputError(message);
  if (name === "UsageError") return new UsageError(message);
  const error = new Error(message);
  error.name = name;
  return error;
}

/** Characters that encoding a row processes: the beginning of a chat is rendered for each of its turns. */
function effortOf({ row }: PlacedRow, { maxLength }: EncodeOptions): number {
  const size = rowCharacters(row);
  if (row.kind !== "messages") return 2 * size;
  const beginning = Math.min(size, maxLength * CHARACTERS_PER_TOKEN);
  return 2 * size + Math.min(row.messages.length * beginning, MAX_BEGINNINGS);
}

/** More than the mean length of tokens, in any language. */
const CHARACTERS_PER_TOKEN = 8;

/** Most counted characters of a chat's beginnings: rows of so many turns are not chats. */
const MAX_BEGINNINGS = 1 << 22;
