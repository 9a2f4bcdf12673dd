/** A unix socket that answers a line of text with a line of JSON. */
import { StorageError } from "../errors.ts";
import { PeerUsers } from "../system/peer_users.ts";
import { type Bounds, Clients, type User } from "./clients.ts";
import { LineClient, type Times } from "./line_client.ts";

export interface LineServerOptions {
  /** Path of the socket; the socket of a killed service is removed. */
  readonly path: string;
  /** Permissions of the socket. */
  readonly mode: number;
  /** Answers a user's line; never rejects. `gone` is aborted when the client has left. */
  readonly answer: (line: string, gone: AbortSignal, user: User) => Promise<string>;
  /** Answer to a line that comes after {@linkcode LineServer.drain} was called. */
  readonly ending: string;
  /** Answer to a client beyond the limit. */
  readonly busy: string;
  /** For tests. */
  readonly bounds?: Bounds;
  readonly times?: Times;
}

const BOUNDS: Bounds = { most: 512, mostEach: 128 };
const TIMES: Times = { idleMs: 60_000, requestMs: 10_000, unreadMs: 10_000 };
/** Pause between two clients beyond the limit: each has `mostEach` times as long to ask. */
const PACE_MS = 1;
/** Interval of checks whether a client still waits for its answer. */
const LOOK_MS = 500;

const NOTHING = new Uint8Array();

export class LineServer {
  readonly #listener: Deno.UnixListener;
  readonly #options: LineServerOptions;
  readonly #clients: Clients<LineClient>;
  readonly #users: PeerUsers;
  readonly #answering = new Set<Promise<void>>();
  #ending = false;
  #closed = false;

  /** Inode of this server's socket, to distinguish it from others at the same path. */
  readonly #inode: number | null;

  private constructor(options: LineServerOptions, listener: Deno.UnixListener) {
    this.#options = options;
    this.#listener = listener;
    this.#clients = new Clients(options.bounds ?? BOUNDS);
    this.#users = new PeerUsers(options.path);
    this.#inode = Deno.lstatSync(options.path).ino;
    void this.#accept();
  }

  /** @throws {StorageError} if the socket cannot be created, or another service answers there */
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
      let connection: Deno.UnixConn;
      try {
        connection = await this.#listener.accept();
      } catch {
        if (this.#closed) return;
        await new Promise((resolve) => setTimeout(resolve, 100)); // out of descriptors: try again later
        continue;
      }
      const client = new LineClient(connection, this.#users.next(), this.#options.times ?? TIMES);
      // Even if others reconnect at once, each client has a moment to ask before it is closed.
      if (!this.#admit(client)) await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  }

  /** Accepts or rejects a client; returns whether there was room for it. */
  #admit(client: LineClient): boolean {
    const room = this.#clients.room(client.user);
    if (room === "none") {
      void client.leave(this.#options.busy);
      return false;
    }
    if (room !== "free") {
      // Before it is closed, because it would count meanwhile.
      this.#clients.delete(room.instead);
      void room.instead.leave(this.#options.busy);
    }
    this.#clients.add(client);
    this.#serve(client).catch(() => {}).finally(() => {
      this.#clients.delete(client);
      client.close();
    });
    return room === "free";
  }

  async #serve(client: LineClient): Promise<void> {
    for (let line = await client.line(); line !== undefined; line = await client.line()) {
      const { ending } = this.#options;
      await this.#write(
        client,
        this.#ending ? Promise.resolve(ending) : this.#answer(client, line),
      );
    }
  }

  async #answer(client: LineClient, line: string): Promise<string> {
    const gone = new AbortController();
    const look = setInterval(() => {
      // Writes nothing, which still fails if the other end is closed.
      client.connection.write(NOTHING).catch(() => gone.abort());
    }, LOOK_MS);
    client.answering = true;
    try {
      return await this.#options.answer(line, gone.signal, client.user);
    } finally {
      client.answering = false;
      client.since = performance.now();
      clearInterval(look);
    }
  }

  async #write(client: LineClient, answer: Promise<string>): Promise<void> {
    const work = answer.then((json) => client.write(json));
    this.#answering.add(work);
    try {
      await work;
    } finally {
      this.#answering.delete(work);
    }
  }

  /** Waits for the answers in progress, and for the answers to texts that had already arrived. */
  async #written(): Promise<true> {
    await Promise.allSettled([...this.#answering]);
    await new Promise((resolve) => setTimeout(resolve, 0)); // arrived lines are read
    await Promise.allSettled([...this.#answering]);
    return true;
  }

  /**
   * Refuses new lines, and ends when the answers in progress are written, or after `boundMs`.
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
    for (const client of this.#clients) client.close();
    removeSocket(this.#options.path, this.#inode);
    return inTime;
  }
}

/** Removes the socket of a killed service. */
async function clearSocket(path: string): Promise<void> {
  const there = socketAt(path);
  if (there === undefined) return;
  if (!there.isSocket) throw new Error("it exists and is not a socket");
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

/** Removes a socket, unless another one has replaced it. */
function removeSocket(path: string, inode: number | null): void {
  const there = socketAt(path);
  if (there?.isSocket && there.ino === inode) Deno.removeSync(path);
}
