/**
 * Unpacks a tar of a model or an adapter, also a gzipped one. Only files and folders below the root are
 * unpacked; a link, a device or a path out of it is an error.
 *
 * Source: POSIX.1-2017, pax and ustar formats; GNU tar's manual for its long names.
 */
import { dirname, join } from "@std/path";
import { BadInputError, StorageError } from "../errors.ts";
import { openRegularFile } from "../system/regular_file.ts";
import { checkFilePath } from "./names.ts";

const BLOCK = 512;
/** Longest extended header that can contain a path. */
const LONGEST_HEADER = 1 << 16;
const MOST_FILES = 10_000;

/** Reads exact numbers of bytes from a stream. */
class Bytes {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(stream: ReadableStream<Uint8Array>, readonly source: string) {
    this.#reader = stream.getReader();
  }

  /** Up to `most` bytes; none at the end. */
  async some(most: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      let next: ReadableStreamReadResult<Uint8Array>;
      try {
        next = await this.#reader.read();
      } catch (cause) {
        throw new BadInputError(`${this.source}: cannot be unpacked: ${(cause as Error).message}`, {
          cause,
        });
      }
      if (next.done) return this.#rest;
      this.#rest = next.value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  /** @throws {BadInputError} if the archive ends earlier */
  async *exactly(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0;) {
      const part = await this.some(left);
      if (part.length === 0) {
        throw new BadInputError(`${this.source}: the archive ends ${left} bytes early`);
      }
      left -= part.length;
      yield part;
    }
  }

  async whole(count: number): Promise<Uint8Array> {
    const all = new Uint8Array(count);
    let at = 0;
    for await (const part of this.exactly(count)) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  cancel(): Promise<void> {
    return this.#reader.cancel().catch(() => {});
  }
}

function textOf(header: Uint8Array, start: number, length: number): string {
  const bytes = header.subarray(start, start + length);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** A number field: octal, or GNU's base 256 for large ones. */
function numberOf(header: Uint8Array, start: number, length: number): number {
  if (header[start] & 0x80) {
    return header.subarray(start + 1, start + length).reduce((sum, byte) => sum * 256 + byte, 0);
  }
  const text = textOf(header, start, length).trim();
  return /^[0-7]*$/.test(text) ? parseInt(text || "0", 8) : NaN;
}

function isSound(header: Uint8Array): boolean {
  const sum = header.reduce((all, byte, i) => all + (i >= 148 && i < 156 ? 32 : byte), 0);
  return numberOf(header, 148, 8) === sum;
}

/** `path` and `size` of a pax header: lines of `length key=value`. */
function paxOf(bytes: Uint8Array): { path?: string; size?: number } {
  const found: { path?: string; size?: number } = {};
  for (const line of new TextDecoder().decode(bytes).split("\n")) {
    const [, key, value] = /^\d+ ([^=]+)=([\s\S]*)$/.exec(line) ?? [];
    if (key === "path") found.path = value;
    if (key === "size") found.size = Number(value);
  }
  return found;
}

/**
 * Unpacks an archive into an existing empty folder.
 *
 * @param room returns the bytes that may be written; called before each file
 * @throws {BadInputError} for an invalid archive or refused contents, naming them
 * @throws {StorageError} if a file cannot be written or does not fit
 */
export async function unpackTar(
  path: string,
  into: string,
  room: () => number | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const file = openRegularFile(path);
  const magic = new Uint8Array(2);
  const read = file.readSync(magic);
  file.seekSync(0, Deno.SeekMode.Start);
  const isGzip = read === 2 && magic[0] === 0x1f && magic[1] === 0x8b;
  const stream = isGzip
    ? file.readable.pipeThrough(new DecompressionStream("gzip"))
    : file.readable;
  const bytes = new Bytes(stream, path);
  try {
    await unpack(bytes, into, room, signal);
  } finally {
    await bytes.cancel();
  }
}

async function unpack(
  bytes: Bytes,
  into: string,
  room: () => number | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { source } = bytes;
  let long: { path?: string; size?: number } = {};
  let files = 0;
  while (true) {
    signal?.throwIfAborted();
    const header = await bytes.whole(BLOCK);
    if (header.every((byte) => byte === 0)) break;
    if (!isSound(header)) throw new BadInputError(`${source} is not a tar archive, or is damaged`);
    const type = String.fromCharCode(header[156] || 0x30);
    const size = long.size ?? numberOf(header, 124, 12);
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new BadInputError(`${source}: an entry has no size`);
    }
    const padding = (BLOCK - size % BLOCK) % BLOCK;
    if (type === "x" || type === "g" || type === "L") {
      if (size > LONGEST_HEADER) {
        throw new BadInputError(`${source}: an entry's header has ${size} bytes`);
      }
      const content = await bytes.whole(size);
      if (type === "x") long = { ...long, ...paxOf(content) };
      else if (type === "L") long = { ...long, path: textOf(content, 0, size) };
      await bytes.whole(padding);
      continue;
    }
    const prefix = textOf(header, 257, 5) === "ustar" ? textOf(header, 345, 155) : "";
    const short = textOf(header, 0, 100);
    const name = long.path ?? (prefix === "" ? short : `${prefix}/${short}`);
    long = {};
    const clean = name.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
    if (type === "5" && (clean === "" || clean === ".")) continue;
    checkFilePath(clean, source);
    if (type !== "0" && type !== "5" && type !== "7") {
      const what = type === "1" || type === "2" ? "a link" : "neither a file nor a folder";
      throw new BadInputError(`${source}: refused "${clean}": it is ${what}`);
    }
    if (type === "5") continue; // created when a file needs it
    if (++files > MOST_FILES) {
      throw new BadInputError(`${source} has more than ${MOST_FILES} files`);
    }
    const free = room();
    if (free !== undefined && size > free) {
      throw new StorageError(
        `${into} has no room for "${clean}" of ${source}, ${size} bytes: current value is ${free}`,
      );
    }
    await write(bytes, join(into, clean), size, source, signal);
    await bytes.whole(padding);
  }
  if (files === 0) throw new BadInputError(`${source} has no files`);
}

async function write(
  bytes: Bytes,
  path: string,
  size: number,
  source: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  let file: Deno.FsFile;
  try {
    Deno.mkdirSync(dirname(path), { recursive: true });
    file = Deno.openSync(path, { write: true, createNew: true });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists || error instanceof Deno.errors.NotADirectory) {
      throw new BadInputError(`${source} has two entries that become ${path}`, { cause: error });
    }
    throw new StorageError(`Cannot write ${path}: ${(error as Error).message}`, { cause: error });
  }
  using _file = file;
  for await (const part of bytes.exactly(size)) {
    signal?.throwIfAborted();
    try {
      for (let at = 0; at < part.length;) at += file.writeSync(part.subarray(at));
    } catch (error) {
      throw new StorageError(`Cannot write ${path}: ${(error as Error).message}`, { cause: error });
    }
  }
}
