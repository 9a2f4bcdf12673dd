/** Stores encoded rows in memory or in a file, and reads them by index. */
import { Column } from "./column.ts";
import type { EncodedRow } from "./encode.ts";

/** Rows of token ids for batches. */
export interface EncodedRows {
  /** Number of rows. */
  readonly count: number;
  /** Number of tokens in a row. */
  tokenCount(index: number): number;
  /** Reads a row's tokens. */
  row(index: number): Promise<EncodedRow>;
}

/** A growing sequence of bytes that can be read at any offset. */
export interface ByteStore {
  append(bytes: Uint8Array): void;
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Rows are a fraction of a block; an array for each would take more memory than its contents. */
const BLOCK_BYTES = 2 ** 16;

/** A byte store in memory. */
export class MemoryBytes implements ByteStore {
  readonly #blocks: Uint8Array[] = [];
  /** Bytes before each block. */
  readonly #starts = new Column(Float64Array);
  #sizeBytes = 0;
  /** Bytes of the last block. */
  #used = 0;

  append(bytes: Uint8Array): void {
    if (this.#used + bytes.length > (this.#blocks.at(-1)?.length ?? -1)) {
      this.#blocks.push(new Uint8Array(Math.max(BLOCK_BYTES, bytes.length)));
      this.#starts.push(this.#sizeBytes);
      this.#used = 0;
    }
    this.#blocks.at(-1)!.set(bytes, this.#used);
    this.#used += bytes.length;
    this.#sizeBytes += bytes.length;
  }

  /** Reads what one {@linkcode append} wrote. */
  read(offset: number, length: number): Promise<Uint8Array> {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts.at(middle) <= offset) low = middle;
      else high = middle - 1;
    }
    const begin = offset - this.#starts.at(low);
    return Promise.resolve(this.#blocks[low].subarray(begin, begin + length));
  }
}

/** Number of words before the ids: the class, or -1. */
const HEAD_WORDS = 1;

/**
 * Encoded rows in a byte store. A row is 32-bit words: class or -1, token ids, span bounds; the index
 * has the number of ids.
 */
export class TokenStore implements EncodedRows {
  readonly #offsets = new Column(Float64Array);
  readonly #tokens = new Column(Uint32Array);
  readonly #words = new Column(Uint32Array);
  #sizeBytes = 0;

  constructor(readonly bytes: ByteStore = new MemoryBytes()) {}

  get count(): number {
    return this.#tokens.length;
  }

  tokenCount(index: number): number {
    return this.#tokens.at(index);
  }

  append({ ids, spans, classId = -1 }: EncodedRow): void {
    const words = new Int32Array(HEAD_WORDS + ids.length + spans.length);
    words[0] = classId;
    words.set(ids, HEAD_WORDS);
    words.set(spans, HEAD_WORDS + ids.length);
    this.#offsets.push(this.#sizeBytes);
    this.#tokens.push(ids.length);
    this.#words.push(words.length);
    this.#sizeBytes += words.byteLength;
    this.bytes.append(new Uint8Array(words.buffer));
  }

  async row(index: number): Promise<EncodedRow> {
    const wordCount = this.#words.at(index);
    const bytes = await this.bytes.read(this.#offsets.at(index), wordCount * 4);
    const words = new Int32Array(bytes.slice().buffer);
    const end = HEAD_WORDS + this.#tokens.at(index);
    return {
      ids: words.subarray(HEAD_WORDS, end),
      spans: words.subarray(end),
      classId: words[0] < 0 ? undefined : words[0],
    };
  }
}
