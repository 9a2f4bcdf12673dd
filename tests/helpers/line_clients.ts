/** Clients of a service's socket: one that asks as it should, and others that do not. */
const encoder = new TextEncoder();

const connect = (path: string) => Deno.connect({ transport: "unix", path });

/** Asks once on a connection of its own; rejects where there is no answer. */
// deno-lint-ignore no-explicit-any -- an answer's JSON
export async function askOnce(path: string, text: string): Promise<any> {
  using connection = await connect(path);
  // Who is turned away finds the connection closed, and the reason in it.
  connection.write(encoder.encode(`${text}\n`)).catch(() => {});
  const answer = await restOf(connection, true);
  if (answer === "") throw new Error("The service ended the connection and said nothing");
  // Once it is answered it may have to go for another, and be told so.
  return JSON.parse(answer.split("\n")[0]);
}

/** What comes on a connection until its end, or until a line's. */
export async function restOf(connection: Deno.Conn, untilLine = false): Promise<string> {
  const [decoder, chunk] = [new TextDecoder(), new Uint8Array(65_536)];
  let text = "";
  while (!(untilLine && text.includes("\n"))) {
    const count = await connection.read(chunk).catch(() => null); // ended by the other side
    if (count === null) break;
    text += decoder.decode(chunk.subarray(0, count), { stream: true });
  }
  return text;
}

/** Clients that come again for as long as they are wanted; what they are told is counted by its status. */
export interface Crowd extends AsyncDisposable {
  /** Connections that were made, and how long the longest of those lasted that the service ended. */
  connections: number;
  longestMs: number;
  readonly told: Map<string, number>;
}

/** What a client does with a connection. */
export type Behaviour = (connection: Deno.UnixConn, goesOn: () => boolean) => Promise<void>;

/** Sends a byte every so often and never a line's end. */
export const dripping = (everyMs: number): Behaviour => async (connection, goesOn) => {
  while (goesOn()) {
    await connection.write(encoder.encode("a"));
    await sleep(everyMs);
  }
};

/** Says nothing. */
export const silent: Behaviour = async (connection) =>
  void await connection.read(new Uint8Array(1));

/** Asks and leaves before the answer. */
export const leaving = (text: string): Behaviour => async (connection) => {
  await connection.write(encoder.encode(`${text}\n`));
  await sleep(20);
  connection.close();
};

/** Asks on and on, and never reads. */
export const unreading = (text: string, everyMs: number): Behaviour =>
async (
  connection,
  goesOn,
) => {
  while (goesOn()) {
    await connection.write(encoder.encode(`${text}\n`));
    await sleep(everyMs);
  }
};

/**
 * Starts `size` clients that behave so.
 *
 * @param againMs after which each comes again whose connection has ended
 */
export function crowd(path: string, size: number, behaviour: Behaviour, againMs = 0): Crowd {
  let wanted = true;
  const open = new Set<Deno.UnixConn>();
  const found: Crowd = {
    connections: 0,
    longestMs: 0,
    told: new Map(),
    async [Symbol.asyncDispose]() {
      wanted = false;
      for (const connection of open) close(connection);
      await Promise.all(clients);
    },
  };
  const one = async () => {
    while (wanted) {
      const connection = await connect(path).catch(() => undefined); // its queue is full
      if (connection === undefined) {
        await sleep(10);
        continue;
      }
      found.connections++;
      const start = performance.now();
      open.add(connection);
      await behaviour(connection, () => wanted).catch(() => {}); // it was ended
      const last = wanted ? (await restOf(connection)).trim().split("\n").at(-1)! : "";
      const status = /"status":"(\w+)"/.exec(last)?.[1] ?? "none";
      if (wanted) {
        found.told.set(status, (found.told.get(status) ?? 0) + 1);
        found.longestMs = Math.max(found.longestMs, performance.now() - start);
      }
      open.delete(connection);
      close(connection);
      if (wanted) await sleep(againMs);
    }
  };
  const clients = Array.from({ length: size }, one);
  return found;
}

function close(connection: Deno.UnixConn): void {
  try {
    connection.close();
  } catch {
    // closed already
  }
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
