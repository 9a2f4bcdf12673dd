/** Splits a file into records (lines, or CSV records with line ends inside quotes) in bounded memory. */
import { BadInputError } from "../errors.ts";
import type { RandomAccess } from "./source.ts";

/** One record's bytes, without its line end, and their position. */
export interface RawRecord {
  /** Where it begins in the file, in bytes. */
  readonly offset: number;
  /** Line of its first byte, counted from 1. */
  readonly line: number;
  /** Its text in UTF-8, without the end of the line. */
  readonly bytes: Uint8Array;
}

export interface RecordOptions {
  /** Whether double quotes at the start of a field hide line ends, as in CSV. */
  readonly quoted: boolean;
  /** The byte between fields; matters only with `quoted`. Default: a comma. */
  readonly separator?: number;
  /** Longest record accepted. */
  readonly maxBytes: number;
}

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;
const COMMA = 0x2c;
const CHUNK_BYTES = 1 << 20;

/**
 * Records in order, blank lines left out. A byte order mark at the start and CR before LF are not part
 * of a record.
 *
 * @throws {BadInputError} for a record over `maxBytes`, an unclosed quote, or UTF-16, with file and line
 */
export async function* records(
  source: RandomAccess,
  options: RecordOptions,
): AsyncGenerator<RawRecord> {
  let start = await textStart(source);
  let line = 1;
  let pending: Uint8Array = new Uint8Array();
  let finder = recordEnd(options);
  let position = start;
  while (true) {
    const chunk = await source.read(position, Math.min(CHUNK_BYTES, source.sizeBytes - position));
    position += chunk.length;
    const buffer = pending.length === 0 ? chunk : joined(pending, chunk);
    let begin = 0;
    let from = pending.length;
    while (true) {
      const end = finder.find(buffer, from);
      if (end < 0) break;
      yield* record(source, start, line, buffer.subarray(begin, end), options);
      line += finder.lines + 1;
      start += end + 1 - begin;
      begin = from = end + 1;
      finder = recordEnd(options);
    }
    pending = buffer.subarray(begin);
    if (pending.length > options.maxBytes) tooLong(source, line, options);
    if (position >= source.sizeBytes) break;
  }
  if (finder.open) {
    throw new BadInputError(
      `${source.name}:${line}: a quote opened in the record that begins here is never closed`,
    );
  }
  yield* record(source, start, line, pending, options);
}

function* record(
  source: RandomAccess,
  offset: number,
  line: number,
  raw: Uint8Array,
  options: RecordOptions,
): Generator<RawRecord> {
  const bytes = raw[raw.length - 1] === CR ? raw.subarray(0, -1) : raw;
  if (bytes.length > options.maxBytes) tooLong(source, line, options);
  if (!isBlank(bytes)) yield { offset, line, bytes };
}

function tooLong(source: RandomAccess, line: number, { maxBytes, quoted }: RecordOptions): never {
  throw new BadInputError(
    `${source.name}:${line}: a row may have at most ${maxBytes} bytes, and the one that begins ` +
      `here has more${quoted ? " (is a quote not closed?)" : ""}: split it into several rows`,
  );
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === CR);
}

/** Offset of the first byte of text: after a UTF-8 byte order mark. */
async function textStart(source: RandomAccess): Promise<number> {
  const head = await source.read(0, Math.min(3, source.sizeBytes));
  if (head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf) return 3;
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff)) {
    throw new BadInputError(`${source.name}: the file is UTF-16: save it as UTF-8`);
  }
  return 0;
}

interface EndFinder {
  /** Finds the line end that closes the record at or after `from`, or -1; keeps its state. */
  find(buffer: Uint8Array, from: number): number;
  /** Line ends inside the record so far. */
  readonly lines: number;
  /** Whether a quote is open. */
  readonly open: boolean;
}

function recordEnd({ quoted, separator = COMMA }: RecordOptions): EndFinder {
  return quoted ? new QuotedEnd(separator) : PLAIN_END;
}

const PLAIN_END: EndFinder = {
  find: (buffer, from) => buffer.indexOf(LF, from),
  lines: 0,
  open: false,
};

/** A quote opens only at the start of a field (RFC 4180), so that inches and apostrophes are harmless. */
class QuotedEnd implements EndFinder {
  lines = 0;
  open = false;
  #fieldStart = true;

  constructor(readonly separator: number) {}

  find(buffer: Uint8Array, from: number): number {
    for (let i = from; i < buffer.length; i++) {
      const byte = buffer[i];
      if (this.open) {
        if (byte === QUOTE) this.open = false;
        else if (byte === LF) this.lines++;
      } else if (byte === LF) return i;
      else if (byte === QUOTE && this.#fieldStart) this.open = true;
      else {
        this.#fieldStart = byte === this.separator;
        continue;
      }
      // After a closing quote, another one is an escaped quote: it opens the field again.
      this.#fieldStart = byte === QUOTE;
    }
    return -1;
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Bytes as text.
 *
 * @param place file and line for the message
 * @throws {BadInputError} if they are not UTF-8
 */
export function decodeUtf8(bytes: Uint8Array, place: string): string {
  try {
    return STRICT_UTF8.decode(bytes);
  } catch {
    throw new BadInputError(`${place}: the bytes are not UTF-8: save the file as UTF-8`);
  }
}
