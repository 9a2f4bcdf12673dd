/** One connection of the line server: reads lines and writes answers, each with a deadline. */
import type { Connected, User } from "./clients.ts";

/** Time limits of a client. */
export interface Times {
  /** To begin a line, after its last answer. */
  readonly idleMs: number;
  /** From a line's first byte to its end. */
  readonly requestMs: number;
  /** To read an answer. */
  readonly unreadMs: number;
}

/** A longer line ends the connection. */
const MAX_LINE_BYTES = 65_536;
/** Time for writing a final message. */
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
   * The next line; `undefined` if there is none: the client left, took too long or sent too much, which
   * a message reports to it.
   */
  async line(): Promise<string | undefined> {
    const { idleMs, requestMs } = this.times;
    // For the whole line: bytes that arrive one by one do not extend it.
    const forLine = () =>
      deadline(
        requestMs,
        () => this.#refuse(`A line must be complete within ${requestMs / 1000} seconds`),
      );
    let bound = this.#pending.length > 0 ? forLine() : deadline(idleMs, () => this.close());
    try {
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
        const count = await this.connection.read(chunk);
        if (count === null) return undefined;
        if (this.#pending.length === 0) {
          bound[Symbol.dispose]();
          bound = forLine();
        }
        this.#pending = joined(this.#pending, chunk.subarray(0, count));
      }
    } finally {
      bound[Symbol.dispose]();
    }
  }

  /** Writes an answer within the time limit. */
  async write(json: string): Promise<void> {
    const bytes = encoder.encode(`${json}\n`);
    using _unread = deadline(this.times.unreadMs, () => this.close());
    for (let done = 0; done < bytes.length;) {
      done += await this.connection.write(bytes.subarray(done));
    }
  }

  #refuse(message: string): Promise<void> {
    return this.leave(JSON.stringify({ error: { status: "refused", message } }));
  }

  /** Writes a final message, if the client reads it at once, and ends the connection. */
  async leave(json: string): Promise<void> {
    {
      using _bound = deadline(LAST_WORD_MS, () => this.close());
      await this.connection.write(encoder.encode(`${json}\n`)).catch(() => {}); // it is closed already
    }
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

/**
 * Calls a function after a time and one more turn of the event loop: in a process that was held up, timers
 * come before what has arrived meanwhile.
 */
function deadline(ms: number, late: () => void): Disposable {
  let timer = setTimeout(() => timer = setTimeout(late, 0), ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
