/** One connection of the line server: lines that it sends, answers that it reads, each with a deadline. */
import type { Connected, User } from "./clients.ts";

/** How long a client may take. */
export interface Times {
  /** To begin a line, once its last answer is there. */
  readonly idleMs: number;
  /** From a line's first byte to its end. */
  readonly requestMs: number;
  /** To read an answer. */
  readonly unreadMs: number;
}

/** A longer line ends the connection. */
const MAX_LINE_BYTES = 65_536;
/** How long a last word may take to be written. */
const LAST_WORD_MS = 100;

const LF = 0x0a;
const encoder = new TextEncoder();

export class LineClient implements Connected {
  since = performance.now();
  answering = false;
  #pending = new Uint8Array();

  constructor(
    readonly connection: Deno.UnixConn,
    readonly user: User,
    readonly times: Times,
  ) {}

  /**
   * The next line; `undefined` where there is none: it went away, took too long or said too much,
   * which it is told.
   */
  async line(): Promise<string | undefined> {
    let begun = performance.now();
    const chunk = new Uint8Array(4096);
    while (true) {
      const end = this.#pending.indexOf(LF);
      if (end >= 0) {
        const line = new TextDecoder().decode(this.#pending.subarray(0, end)).replace(/\r$/, "");
        this.#pending = this.#pending.slice(end + 1);
        return line;
      }
      if (this.#pending.length > MAX_LINE_BYTES) {
        return void await this.#refuse(`A line may have at most ${MAX_LINE_BYTES} bytes`);
      }
      const count = await this.#read(chunk, begun);
      if (count === null) return undefined;
      if (this.#pending.length === 0) begun = performance.now();
      this.#pending = joined(this.#pending, chunk.subarray(0, count));
    }
  }

  async #read(chunk: Uint8Array<ArrayBuffer>, begun: number): Promise<number | null> {
    const { idleMs, requestMs } = this.times;
    const inLine = this.#pending.length > 0;
    // Of the whole line: bytes that come one by one do not make it longer.
    const left = inLine ? begun + requestMs - performance.now() : idleMs;
    const late = inLine
      ? () => this.#refuse(`A line must be complete within ${requestMs / 1000} seconds`)
      : () => this.close();
    const timer = setTimeout(late, Math.max(0, left));
    try {
      return await this.connection.read(chunk);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Writes an answer, for which it may take as long as is granted, all in all. */
  async write(json: string): Promise<void> {
    const bytes = encoder.encode(`${json}\n`);
    const unread = setTimeout(() => this.close(), this.times.unreadMs);
    try {
      for (let done = 0; done < bytes.length;) {
        done += await this.connection.write(bytes.subarray(done));
      }
    } finally {
      clearTimeout(unread);
    }
  }

  #refuse(message: string): Promise<void> {
    return this.leave(JSON.stringify({ error: { status: "refused", message } }));
  }

  /** Says a last word, where it is taken at once, and ends the connection. */
  async leave(json: string): Promise<void> {
    const bound = setTimeout(() => this.close(), LAST_WORD_MS);
    await this.connection.write(encoder.encode(`${json}\n`)).catch(() => {}); // it is gone already
    clearTimeout(bound);
    this.close();
  }

  close(): void {
    try {
      this.connection.close();
    } catch {
      // closed already
    }
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
