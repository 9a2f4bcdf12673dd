/** The interface for all text processing, implemented here and by a guarded process. */
import { UsageError } from "../errors.ts";
import { ChatTemplate, type ChatTemplateFile, type RenderOptions } from "./chat_template.ts";
import type { PlacedRow } from "./dataset.ts";
import {
  type EncodeOptions,
  type EncodeResult,
  encodeRow,
  NO_TEMPLATE,
  type TextTools,
} from "./encode.ts";
import type { Message } from "./messages.ts";
import {
  type EncodeTextOptions,
  Tokenizer,
  type TokenizerFiles,
  type TokenizerInfo,
} from "./tokenizer.ts";

/** A model's files for text processing. */
export interface TextFiles extends TokenizerFiles {
  /** The chat template, if the model has one. */
  readonly chatTemplate?: ChatTemplateFile;
}

/** How ids become text. */
export interface DecodeOptions {
  /** Whether special tokens are left out; default true. */
  readonly skipSpecialTokens?: boolean;
}

/** Converts text to ids and back. Calls take many texts, because they may go to another process. */
export interface TextProcessor extends Disposable {
  /** What the tokenizer's files say. */
  readonly info: TokenizerInfo;
  /** Whether there is a chat template. */
  readonly hasTemplate: boolean;
  /** Ids that every text is begun with, beyond those of the tokenizer; absent: none. */
  readonly virtualIds?: readonly number[];
  /**
   * Encodes rows for training.
   *
   * @throws {BadInputError} for the first row that cannot be encoded, naming its place
   */
  encodeRows(rows: readonly PlacedRow[], options: EncodeOptions): Promise<EncodeResult[]>;
  /** Encodes texts. */
  encode(texts: readonly string[], options?: EncodeTextOptions): Promise<number[][]>;
  /** Turns sequences of ids into texts. */
  decode(sequences: readonly (readonly number[])[], options?: DecodeOptions): Promise<string[]>;
  /**
   * Renders messages with the chat template.
   *
   * @throws {BadInputError} if the template refuses the messages
   * @throws {UsageError} if there is no template
   */
  render(messages: readonly Message[], options?: RenderOptions): Promise<string>;
}

/** Works in this thread: for trusted files, and inside the text process. */
export class LocalText implements TextProcessor {
  readonly #tools: TextTools;

  /** @throws {BadInputError} for files that cannot be used */
  constructor(files: TextFiles) {
    const tokenizer = new Tokenizer(files);
    const { chatTemplate } = files;
    this.#tools = {
      tokenizer,
      template: chatTemplate && new ChatTemplate(chatTemplate, tokenizer.info.specialTokens),
    };
  }

  get info(): TokenizerInfo {
    return this.#tools.tokenizer.info;
  }

  get hasTemplate(): boolean {
    return this.#tools.template !== undefined;
  }

  // deno-lint-ignore require-await -- errors must reject, as they do from a worker
  async encodeRows(rows: readonly PlacedRow[], options: EncodeOptions): Promise<EncodeResult[]> {
    return rows.map(({ row, place }) => encodeRow(this.#tools, row, options, place));
  }

  // deno-lint-ignore require-await -- as above
  async encode(texts: readonly string[], options?: EncodeTextOptions): Promise<number[][]> {
    return texts.map((text) => this.#tools.tokenizer.encode(text, options));
  }

  // deno-lint-ignore require-await -- as above
  async decode(
    sequences: readonly (readonly number[])[],
    options?: DecodeOptions,
  ): Promise<string[]> {
    return sequences.map((ids) => this.#tools.tokenizer.decode(ids, options));
  }

  // deno-lint-ignore require-await -- as above
  async render(messages: readonly Message[], options?: RenderOptions): Promise<string> {
    const { template } = this.#tools;
    if (template === undefined) throw new UsageError(NO_TEMPLATE);
    return template.render(messages, options);
  }

  [Symbol.dispose](): void {}
}
