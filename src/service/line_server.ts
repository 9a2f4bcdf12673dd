/** A unix socket on which a line of text is answered with a line of JSON. */
import { StorageError } from "../errors.ts";

export interface LineServerOptions {
  /** Path of the socket; what a killed service left there is removed. */
  readonly path: string;
  /** Permissions of the socket. */
  readonly mode: number;
  /** The answer to a line; never rejects. `gone` fires when nobody is there to read it. */
  readonly answer: (line: string, gone: AbortSignal) => Promise<string>;
  /** What a line gets that comes after {@linkcode LineServer.drain} was called. */
  readonly ending: string;
  /** What a client gets that is one too many. */
  readonly busy: string;
}

/** Clients at a time; others are turned away. */
const MOST_CLIENTS = 32;
/** A longer line ends the connection. */
const MAX_LINE_BYTES = 65_536;
/** A client that says nothing for so long is gone. */
const IDLE_MS = 60_000;
/** So is one that reads nothing of its answer. */
const UNREAD_MS = 10_000;
/** How often it is looked whether a client waits for its answer still. */
const LOOK_MS = 500;

const LF = 0x0a;
const NOTHING = new Uint8Array();
const encoder = new TextEncoder();

export class LineServer {
  readonly #listener: Deno.UnixListener;
  readonly #options: LineServerOptions;
  readonly #clients = new Set<Deno.UnixConn>();
  readonly #answering = new Set<Promise<void>>();
  #ending = false;
  #closed = false;

  /** Which of the sockets that had this path is this one's. */
  readonly #inode: number | null;

  private constructor(options: LineServerOptions, listener: Deno.UnixListener) {
    this.#options = options;
    this.#listener = listener;
    this.#inode = Deno.lstatSync(options.path).ino;
    this.#accept();
  }

  /** @throws {StorageError} where the socket cannot be made, or another service answers there */
  static async listen(options: LineServerOptions): Promise<LineServer> {
    const { path, mode } = options;
    try {
      await clearSocket(path);
      const listener = Deno.listen({ transport: "unix", path });
      Deno.chmodSync(path, mode);
      return new LineServer(options, listener);
    } catch (error) {
      const message = `Cannot listen on ${path}: ${(error as Error).message}`;
      throw new StorageError(message, { cause: error });
    }
  }

  async #accept(): Promise<void> {
    while (!this.#closed) {
      let client: Deno.UnixConn;
      try {
        client = await this.#listener.accept();
      } catch {
        if (this.#closed) return;
        await new Promise((resolve) => setTimeout(resolve, 100)); // out of descriptors: later
        continue;
      }
      if (this.#clients.size >= MOST_CLIENTS) {
        writeAll(client, this.#options.busy).catch(() => {}).finally(() => close(client));
        continue;
      }
      this.#clients.add(client);
      this.#serve(client).catch(() => {}).finally(() => {
        this.#clients.delete(client);
        close(client);
      });
    }
  }

  async #serve(client: Deno.UnixConn): Promise<void> {
    let pending = new Uint8Array();
    const chunk = new Uint8Array(4096);
    while (true) {
      const idle = setTimeout(() => close(client), IDLE_MS);
      const count = await client.read(chunk).finally(() => clearTimeout(idle));
      if (count === null) return;
      pending = joined(pending, chunk.subarray(0, count));
      for (let end = pending.indexOf(LF); end >= 0; end = pending.indexOf(LF)) {
        const line = new TextDecoder().decode(pending.subarray(0, end)).replace(/\r$/, "");
        pending = pending.slice(end + 1);
        const { ending } = this.#options;
        const answer = this.#ending ? Promise.resolve(ending) : this.#answer(client, line);
        await this.#write(client, answer);
      }
      if (pending.length > MAX_LINE_BYTES) {
        const message = `A line may have at most ${MAX_LINE_BYTES} bytes`;
        const error = { status: "refused", message };
        return await writeAll(client, JSON.stringify({ error }));
      }
    }
  }

  async #answer(client: Deno.UnixConn, line: string): Promise<string> {
    const gone = new AbortController();
    const look = setInterval(() => {
      // Nothing is written; where the other end is closed altogether, that is an error all the same.
      client.write(NOTHING).catch(() => gone.abort());
    }, LOOK_MS);
    try {
      return await this.#options.answer(line, gone.signal);
    } finally {
      clearInterval(look);
    }
  }

  async #write(client: Deno.UnixConn, answer: Promise<string>): Promise<void> {
    const work = answer.then((json) => writeAll(client, json));
    this.#answering.add(work);
    try {
      await work;
    } finally {
      this.#answering.delete(work);
    }
  }

  /** Waits for the answers in work, and for what is said to texts that had arrived by then. */
  async #written(): Promise<true> {
    await Promise.allSettled([...this.#answering]);
    await new Promise((resolve) => setTimeout(resolve, 0)); // what has arrived is read
    await Promise.allSettled([...this.#answering]);
    return true;
  }

  /**
   * Refuses what is asked from now on, and ends when the answers in work are written, or `boundMs`
   * later.
   *
   * @returns whether all were written
   */
  async drain(boundMs: number): Promise<boolean> {
    this.#ending = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const bound = new Promise<false>((resolve) =>
      timer = setTimeout(() => resolve(false), boundMs)
    );
    const inTime = await Promise.race([this.#written(), bound]);
    clearTimeout(timer);
    this.#closed = true;
    this.#listener.close();
    for (const client of this.#clients) close(client);
    removeSocket(this.#options.path, this.#inode);
    return inTime;
  }
}

function close(client: Deno.UnixConn): void {
  try {
    client.close();
  } catch {
    // closed already
  }
}

/** Removes what a killed service left. */
async function clearSocket(path: string): Promise<void> {
  const there = socketAt(path);
  if (there === undefined) return;
  if (!there.isSocket) throw new Error("there is something that is no socket");
  try {
    using _ = await Deno.connect({ transport: "unix", path });
  } catch {
    removeSocket(path, there.ino);
    return;
  }
  throw new Error("another service answers there; end it, or choose another --socket");
}

function socketAt(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Removes a socket, unless another one has its path by now. */
function removeSocket(path: string, inode: number | null): void {
  const there = socketAt(path);
  if (there?.isSocket && there.ino === inode) Deno.removeSync(path);
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

async function writeAll(client: Deno.UnixConn, line: string): Promise<void> {
  const bytes = encoder.encode(`${line}\n`);
  const unread = setTimeout(() => close(client), UNREAD_MS);
  try {
    for (let done = 0; done < bytes.length;) done += await client.write(bytes.subarray(done));
  } finally {
    clearTimeout(unread);
  }
}
