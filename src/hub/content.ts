/** Reads a file's bytes from the hub: in order, over several connections, with retries. */
import { BadInputError, GraftError } from "../errors.ts";
import type { RepositoryFile } from "./api.ts";
import { type Answer, type HubHttp, shown } from "./http.ts";
import { Transient } from "./transient.ts";

/** Bytes that a connection requests at once, and may read ahead of the writer. */
const PIECE_BYTES = 8 << 20;
const CONNECTIONS = 4;

/** Sizes of the pieces of a file; other values are for tests. */
export interface Pieces {
  readonly pieceBytes?: number;
  readonly connections?: number;
}

/** A range of a file. */
interface ByteRange {
  readonly start: number;
  /** Exclusive end; grows if a server ignores the requested range. */
  end: number;
}

/** A file at the hub, through its redirects. */
class Source {
  /** Target of the last redirect, so that the hub is not asked again for each piece. */
  #place: URL | undefined;
  /** Whether the server supports ranges; `undefined` until it is known. */
  givesRanges: boolean | undefined;

  constructor(readonly http: HubHttp, readonly url: URL, readonly file: RepositoryFile) {}

  /** Opens a range; the chunks begin at `start`, or at 0 if the server does not support ranges. */
  async open(start: number, end: number, signal: AbortSignal): Promise<Answer> {
    const { sizeBytes } = this.file;
    const headers: Record<string, string> = start === 0 && end === sizeBytes
      ? {}
      : { range: `bytes=${start}-${end - 1}` };
    const place = this.#place;
    let answer: Answer;
    try {
      answer = await this.http.get(place ?? this.url, headers, { elsewhere: true, signal });
    } catch (error) {
      // A signed address expires: the hub gives a new one.
      this.#place = undefined;
      if (place === undefined || signal.aborted || !(error instanceof GraftError)) throw error;
      throw new Transient(error.message);
    }
    if (place === undefined) this.#check(answer);
    this.#place = answer.url;
    if (answer.status === 206) checkRange(answer, start, sizeBytes);
    this.givesRanges = answer.status === 206;
    return answer;
  }

  /** The hub names the digest a second time with the content: both must agree. */
  #check({ hubHeaders }: Answer): void {
    const etag = hubHeaders.get("x-linked-etag")?.replace(/^W\/|"/g, "");
    const { kind, hex } = this.file.digest;
    if (etag && kind === "sha256" && etag !== hex) {
      throw new BadInputError(
        `${shown(this.url)}: the hub contradicts itself: the listing gives SHA-256 ${hex}, the ` +
          `file's own address ${JSON.stringify(etag.slice(0, 80))}`,
      );
    }
  }
}

function checkRange({ headers, url }: Answer, start: number, sizeBytes: number): void {
  const range = headers.get("content-range") ?? "";
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range) ?? [];
  if (Number(from) === start && (total === "*" || Number(total) === sizeBytes)) return;
  throw new BadInputError(
    `${shown(url)} gives another range than bytes ${start} on of ${sizeBytes}: ` +
      `current value is ${JSON.stringify(range.slice(0, 80))}`,
  );
}

/** Yields a range's bytes in order; continues after a cut connection. */
async function* rangeOf(
  source: Source,
  range: ByteRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const patience = source.http.patience(shown(source.url), signal);
  let at = range.start;
  while (at < range.end) {
    try {
      const answer = await source.open(at, range.end, signal);
      if (!source.givesRanges) range.end = source.file.sizeBytes;
      let skip = answer.status === 206 ? 0 : at;
      for await (const chunk of answer.chunks()) {
        const passed = Math.min(skip, chunk.length);
        skip -= passed;
        const part = chunk.subarray(passed, passed + range.end - at);
        if (part.length === 0) continue;
        at += part.length;
        patience.renew();
        yield part;
        if (at === range.end) break;
      }
      if (at < range.end) {
        throw new Transient(`the connection ended ${range.end - at} bytes early`);
      }
    } catch (error) {
      await patience.after(error);
    }
  }
}

/** Reads ahead of the consumer. */
class ReadAhead {
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  #done = false;
  #error: unknown;
  #wake = () => {};
  readonly finished: Promise<void>;

  constructor(chunks: AsyncGenerator<Uint8Array<ArrayBuffer>>) {
    this.finished = this.#read(chunks);
  }

  async #read(chunks: AsyncGenerator<Uint8Array<ArrayBuffer>>): Promise<void> {
    try {
      for await (const chunk of chunks) {
        this.#chunks.push(chunk);
        this.#wake();
      }
    } catch (error) {
      this.#error = error;
    }
    this.#done = true;
    this.#wake();
  }

  async *chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) yield chunk;
      else if (this.#error !== undefined) throw this.#error;
      else if (this.#done) return;
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}

/**
 * The bytes of a file from an offset to its end, in order. A large file comes over several connections
 * at once, each a few megabytes ahead, so that the written bytes are always the beginning of the file: a
 * cut download continues at its size, also with Hugging Face's tools.
 *
 * @throws {HubError | AccessError | BadInputError} if the hub does not provide them
 * @throws the signal's reason
 */
export async function* fileContent(
  http: HubHttp,
  url: URL,
  file: RepositoryFile,
  from: number,
  { pieceBytes = PIECE_BYTES, connections = CONNECTIONS }: Pieces = {},
  outer?: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const source = new Source(http, url, file);
  const own = new AbortController();
  const signal = outer === undefined ? own.signal : AbortSignal.any([outer, own.signal]);
  const queue: { readonly range: ByteRange; readonly ahead: ReadAhead }[] = [];
  let next = from;
  const start = () => {
    const range = { start: next, end: Math.min(next + pieceBytes, file.sizeBytes) };
    queue.push({ range, ahead: new ReadAhead(rangeOf(source, range, signal)) });
    next = range.end;
  };
  try {
    if (next < file.sizeBytes) start();
    while (queue.length > 0) {
      const { range, ahead } = queue[0];
      for await (const chunk of ahead.chunks()) {
        // Only now it is known whether the server supports ranges.
        if (!source.givesRanges) next = Math.max(next, range.end);
        while (source.givesRanges && next < file.sizeBytes && queue.length < connections) start();
        yield chunk;
      }
      queue.shift();
      if (queue.length === 0 && next < file.sizeBytes) start();
    }
  } finally {
    own.abort();
    await Promise.all(queue.map(({ ahead }) => ahead.finished));
  }
}
