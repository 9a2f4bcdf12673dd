/**
 * Text work on a model's own files under a deadline and a memory limit.
 *
 * A tokenizer's patterns and a chat template come with a model and can be written to run for years or to
 * multiply their text endlessly. They run in a separate process (`guarded_process.ts`).
 */
import { BadInputError } from "../errors.ts";
import type { RenderOptions } from "./chat_template.ts";
import type { PlacedRow } from "./dataset.ts";
import type { EncodeOptions, EncodeResult } from "./encode.ts";
import { SETUP, type Setup, type TextMethod } from "./guard_protocol.ts";
import { GuardedProcess, type Overrun, OverrunError } from "./guarded_process.ts";
import type { Message } from "./messages.ts";
import { type PackedRows, unpackRows } from "./packed_rows.ts";
import { characters, checkCharacters, rowCharacters } from "./row_size.ts";
import type { DecodeOptions, TextFiles, TextProcessor } from "./text.ts";
import type { EncodeTextOptions } from "./tokenizer.ts";

/** Bounds of the process that works on text. */
export interface GuardOptions {
  /**
   * Deadline of a call, extended by the size of its input; default `GRAFT_TEXT_DEADLINE_MS`, else
   * 1.5 s.
   */
  readonly deadlineMs?: number;
}

/** A {@linkcode TextProcessor} in a separate process. */
export class GuardedText implements TextProcessor {
  readonly #process: GuardedProcess;
  #setup: Setup | undefined;

  private constructor(readonly files: TextFiles, { deadlineMs }: GuardOptions) {
    this.#process = new GuardedProcess({
      setup: { method: SETUP, args: [files] },
      fileBytes: textFileBytes(files),
      deadlineMs,
      describe: (overrun) => overrunText(files, overrun),
      onSetup: (answer) => this.#setup = answer as Setup,
    });
  }

  /**
   * Starts a process on a model's files.
   *
   * @throws {BadInputError} if they cannot be used, or not within the deadline
   * @throws {RuntimeFailure} if the system cannot start it
   */
  static async start(files: TextFiles, options: GuardOptions = {}): Promise<GuardedText> {
    const guarded = new GuardedText(files, options);
    try {
      await guarded.#process.start();
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
    this.#process[Symbol.dispose]();
  }

  async #encodeRows(rows: readonly PlacedRow[], options: EncodeOptions): Promise<EncodeResult[]> {
    const effort = rows.reduce((sum, row) => sum + effortOf(row, options), 0);
    return unpackRows(await this.#ask<PackedRows>("encodeRows", [rows, options], effort));
  }

  #ask<T>(method: TextMethod, args: readonly unknown[], inputCharacters: number): Promise<T> {
    return this.#process.ask(method, args, inputCharacters);
  }
}

/** Bytes of the files that a process reads. */
export function textFileBytes(files: TextFiles): number {
  const { tokenizerJson, tokenizerConfig, specialTokensMap, chatTemplate } = files;
  return tokenizerJson.length + (tokenizerConfig?.length ?? 0) +
    (specialTokensMap?.length ?? 0) + (chatTemplate?.text.length ?? 0);
}

function overrunText({ name, chatTemplate }: TextFiles, { method, limit }: Overrun): string {
  const culprit = method === "render" || (method === "encodeRows" && chatTemplate !== undefined)
    ? "a pattern of tokenizer.json or the chat template"
    : "a pattern of tokenizer.json";
  const advice = method === SETUP
    ? "use the model's original files"
    : `the text is too long for it, or ${culprit} runs endlessly: shorten the text, or use the ` +
      "model's original files";
  return `${name}: text work ${limit}: ${advice}`;
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
