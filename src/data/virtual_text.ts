/** Text processing that begins every text with virtual tokens. */
import { BadInputError } from "../errors.ts";
import type { RenderOptions } from "./chat_template.ts";
import type { PlacedRow } from "./dataset.ts";
import type { EncodeOptions, EncodeResult } from "./encode.ts";
import type { Message } from "./messages.ts";
import type { DecodeOptions, TextProcessor } from "./text.ts";
import type { EncodeTextOptions } from "./tokenizer.ts";

/** Ids of the virtual tokens that every text begins with. */
export interface VirtualIds {
  /** The first id, beyond those of the tokenizer; the others follow it. */
  readonly first: number;
  /** How many there are. */
  readonly count: number;
  /** Whether the last of them predicts a text's first token. */
  readonly predicts: boolean;
}

/** A text processor whose texts begin with virtual tokens, which decoding leaves out. */
export class VirtualText implements TextProcessor {
  readonly #text: TextProcessor;
  readonly #virtual: VirtualIds;
  /** Ids of the virtual tokens. */
  readonly virtualIds: readonly number[];

  constructor(text: TextProcessor, virtual: VirtualIds) {
    this.#text = text;
    this.#virtual = virtual;
    this.virtualIds = Array.from({ length: virtual.count }, (_, i) => virtual.first + i);
  }

  get info(): TextProcessor["info"] {
    return this.#text.info;
  }

  get hasTemplate(): boolean {
    return this.#text.hasTemplate;
  }

  /** As of the text alone; the longest length includes the virtual tokens. */
  async encodeRows(rows: readonly PlacedRow[], options: EncodeOptions): Promise<EncodeResult[]> {
    const maxLength = this.#room(options.maxLength);
    const encoded = await this.#text.encodeRows(rows, { ...options, maxLength });
    const { count, predicts } = this.#virtual;
    return encoded.map(({ ids, spans, ...rest }) => ({
      ...rest,
      ids: Int32Array.from([...this.virtualIds, ...ids]),
      spans: spans.map((bound, i) => {
        // Nothing predicts the first token if the virtual ones have no states.
        const from = i % 2 === 0 && !predicts ? Math.max(1, bound) : bound;
        return count + from;
      }),
    }));
  }

  async encode(texts: readonly string[], options: EncodeTextOptions = {}): Promise<number[][]> {
    const { maxLength } = options;
    const own = maxLength === undefined
      ? options
      : { ...options, maxLength: this.#room(maxLength) };
    const encoded = await this.#text.encode(texts, own);
    return encoded.map((ids) => [...this.virtualIds, ...ids]);
  }

  async decode(
    sequences: readonly (readonly number[])[],
    options?: DecodeOptions,
  ): Promise<string[]> {
    const { first } = this.#virtual;
    return await this.#text.decode(sequences.map((ids) => ids.filter((id) => id < first)), options);
  }

  async render(messages: readonly Message[], options?: RenderOptions): Promise<string> {
    return await this.#text.render(messages, options);
  }

  /** Frees the text processor that it wraps. */
  [Symbol.dispose](): void {
    this.#text[Symbol.dispose]();
  }

  #room(maxLength: number): number {
    const room = maxLength - this.#virtual.count;
    if (room >= 1) return room;
    throw new BadInputError(
      `${this.#virtual.count} virtual tokens leave no room for a text of at most ${maxLength} tokens`,
    );
  }
}
