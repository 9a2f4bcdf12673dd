import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { setImmediate } from "node:timers";
import { LineClient } from "../../src/service/line_client.ts";
import { LineServer, type LineServerOptions } from "../../src/service/line_server.ts";
import {
  askOnce,
  crowd,
  dripping,
  restOf,
  silent,
  sleep,
  unreading,
} from "../helpers/line_clients.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { until } from "../helpers/until.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const BUSY = `{"error":{"status":"busy"}}`;
const BOUNDS = { most: 64, mostEach: 32 };
const TIMES = { idleMs: 60_000, requestMs: 400, unreadMs: 400 };

/** Runs a server that gives back what it is asked. */
async function withServer(
  options: Partial<LineServerOptions>,
  body: (path: string) => Promise<void>,
): Promise<void> {
  await inTempDir(async (folder) => {
    const path = join(folder, "socket");
    const server = await LineServer.listen({
      ...{ path, mode: 0o600, ending: "{}", busy: BUSY, bounds: BOUNDS, times: TIMES },
      answer: (line) => Promise.resolve(JSON.stringify({ echo: line })),
      ...options,
    });
    try {
      await body(path);
    } finally {
      await server.drain(1000);
    }
  });
}

/** Asks again and again; every answer must come, and soon. */
async function assertServed(path: string, times = 8): Promise<void> {
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    assertEquals(await askOnce(path, `text ${i}`), { echo: `text ${i}` });
    const took = performance.now() - start;
    assert(took < 5000, `an answer took ${took} ms`);
    await sleep(20);
  }
}

const connect = (path: string) => Deno.connect({ transport: "unix", path });
const write = (connection: Deno.Conn, text: string) =>
  connection.write(new TextEncoder().encode(text));

Deno.test("LineServer ends a line that is not complete in time, however its bytes come, and says so", () =>
  withServer({}, async (path) => {
    const connection = await connect(path);
    const start = performance.now();
    let dripped = 0;
    const drips = (async () => {
      for (; dripped < 40; dripped++) {
        await write(connection, "a");
        await sleep(50);
      }
    })().catch(() => {});
    const said = await restOf(connection);
    const took = performance.now() - start;
    connection.close();
    await drips;
    assertMatch(said, /"status":"refused","message":"A line must be complete within 0.4 seconds"/);
    // In 1.5 s, by the drips' clock: it stands still where the process does.
    assert(took > 350 && dripped < 30, `${took} ms, ${dripped} drips`);
    // Each line has its own time, and waiting for an answer is none of it.
    const patient = await connect(path);
    for (let i = 0; i < 3; i++) {
      await write(patient, `line ${i}`);
      await sleep(200);
      await write(patient, "\n");
      assertEquals(JSON.parse(await restOf(patient, true)), { echo: `line ${i}` });
    }
    patient.close();
  }));

Deno.test("LineServer answers others while 48 clients send a byte every so often", () =>
  withServer({}, async (path) => {
    await using slow = crowd(path, 48, dripping(100));
    await until("they are there", () => slow.connections >= 48 || undefined);
    await assertServed(path);
  }));

Deno.test("LineServer answers others while 48 clients say nothing, and ends those that never do", () =>
  withServer({ times: { ...TIMES, idleMs: 300 } }, async (path) => {
    await using quiet = crowd(path, 48, silent);
    await until("they are there", () => quiet.connections >= 48 || undefined);
    await assertServed(path);
    const alone = await connect(path);
    assertEquals(await restOf(alone).then((text) => text.replace(`${BUSY}\n`, "")), "");
    alone.close();
  }));

Deno.test("LineServer answers others while 48 clients never read their answers", () =>
  withServer({
    answer: (line) =>
      Promise.resolve(JSON.stringify({ echo: line.replace("long", "x".repeat(500_000)) })),
  }, async (path) => {
    await using crowded = crowd(path, 48, unreading("long", 1));
    await until("they are there", () => crowded.connections >= 48 || undefined);
    await assertServed(path);
  }));

Deno.test("LineServer gives each of 200 clients that ask at once an answer, or says that it is busy", () =>
  withServer({
    answer: async (line) => {
      await sleep(5);
      return JSON.stringify({ echo: line });
    },
  }, async (path) => {
    const texts = Array.from({ length: 200 }, (_, i) => `text ${i}`);
    const answers = await Promise.all(texts.map((text) => askOnce(path, text)));
    for (const [i, { echo, error }] of answers.entries()) {
      assert(echo === texts[i] || error?.status === "busy", JSON.stringify(answers[i]));
    }
    assert(answers.some(({ echo }) => echo !== undefined));
    await assertServed(path, 1);
  }));

Deno.test("LineClient.leave() says its last word even if the process is held up meanwhile", async () => {
  let [closed, said] = [false, ""];
  const connection = {
    // As in a running service, where timers come before what is written in the same turn.
    write: async (bytes: Uint8Array) => {
      await new Promise((resolve) => setImmediate(resolve));
      if (closed) throw new Deno.errors.Interrupted("closed");
      said += new TextDecoder().decode(bytes);
      return bytes.length;
    },
    close: () => closed = true,
  } as unknown as Deno.UnixConn;
  const left = new LineClient(connection, undefined, TIMES).leave(BUSY);
  for (const start = performance.now(); performance.now() - start < 200;);
  await left;
  assertEquals([said, closed], [`${BUSY}\n`, true]);
});

Deno.test("LineClient.line() takes a line that arrived in time while the process was held up", async () => {
  const parts = ["whole ", "line\n"];
  let closed = false;
  const connection = {
    read: async (chunk: Uint8Array) => {
      await new Promise((resolve) => setImmediate(resolve));
      if (closed) throw new Deno.errors.Interrupted("closed");
      return new TextEncoder().encodeInto(parts.shift()!, chunk).written;
    },
    write: (bytes: Uint8Array) => Promise.resolve(bytes.length),
    close: () => closed = true,
  } as unknown as Deno.UnixConn;
  const line = new LineClient(connection, undefined, { ...TIMES, idleMs: 100, requestMs: 100 })
    .line();
  for (const start = performance.now(); performance.now() - start < 200;);
  assertEquals([await line, closed], ["whole line", false]);
});

Deno.test("LineServer turns away who comes while all are being answered", () => {
  const gates: (() => void)[] = [];
  const answer = async (line: string) => {
    await new Promise<void>((resolve) => gates.push(resolve));
    return JSON.stringify({ echo: line });
  };
  return withServer({ answer }, async (path) => {
    const asked = Array.from({ length: 32 }, (_, i) => askOnce(path, String(i)));
    await until("all are asked", () => gates.length === 32 || undefined);
    assertEquals(await askOnce(path, "one more"), JSON.parse(BUSY));
    for (const open of gates) open();
    assertEquals((await Promise.all(asked)).map(({ echo }) => Number(echo)), [...Array(32).keys()]);
  });
});

testNeeding(
  Deno.uid() === 0 ? undefined : "only root can connect as somebody else",
  "GRAFT_REQUIRE_TOOLS",
  "LineServer puts out a user's own connections for more of that user, and no other's",
  () =>
    withServer({ mode: 0o666, bounds: { most: 5, mostEach: 3 } }, async (path) => {
      Deno.chmodSync(join(path, ".."), 0o755);
      const libc = Deno.dlopen("libc.so.6", {
        // int seteuid(uid_t euid)
        seteuid: { parameters: ["u32"], result: "i32" },
      });
      const connectAs = async (user: number) => {
        libc.symbols.seteuid(user);
        try {
          return await connect(path);
        } finally {
          libc.symbols.seteuid(0);
        }
      };
      const root = await connect(path);
      await sleep(20); // accepted
      const others: Deno.UnixConn[] = [];
      for (let i = 0; i < 12; i++) {
        others.push(await connectAs(61_000));
        await sleep(20);
      }
      for (const put of others.slice(0, 9)) assertEquals(await restOf(put), `${BUSY}\n`);
      for (const connection of [root, ...others.slice(9)]) {
        await write(connection, "still here\n");
        assertEquals(JSON.parse(await restOf(connection, true)), { echo: "still here" });
        connection.close();
      }
      for (const connection of others.slice(0, 9)) connection.close();
      libc.close();
    }),
);
