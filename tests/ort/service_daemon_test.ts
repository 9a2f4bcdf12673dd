import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { StorageError } from "../../src/errors.ts";
import type { Answerer } from "../../src/service/answerer.ts";
import { serve } from "../../src/service/daemon.ts";
import type { InUse } from "../../src/service/state_files.ts";
import { Turns } from "../../src/service/turns.ts";
import { ServiceManager } from "../../src/system/notify.ts";
import { openLog } from "../../src/system/journal_log.ts";
import { listenDatagrams } from "../helpers/datagrams.ts";
import { isSocket } from "../helpers/is_socket.ts";
import { until } from "../helpers/until.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** An answerer that gives back what it is asked, when it may. */
function echo(name: string, gate: () => Promise<void> = () => Promise.resolve()): Answerer {
  return {
    kind: "causal",
    async ask(text) {
      await gate();
      return { echo: text, by: name };
    },
    [Symbol.dispose]() {},
  };
}

async function ask(path: string, line: string): Promise<Record<string, unknown>> {
  return JSON.parse(await answerOn(await Deno.connect({ transport: "unix", path }), line));
}

async function answerOn(client: Deno.UnixConn, line: string): Promise<string> {
  await client.write(new TextEncoder().encode(`${line}\n`));
  let text = "";
  for await (const chunk of client.readable.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.endsWith("\n")) break;
  }
  return text;
}

/** Starts `serve()` with fakes; the test ends it. */
function daemon(path: string, options: {
  readonly open: (inUse: InUse) => Promise<Answerer>;
  readonly inUse?: () => InUse;
  readonly earlier?: readonly string[];
  readonly variables?: Readonly<Record<string, string>>;
  readonly drainMs?: number;
}) {
  const stop = new AbortController();
  const events: string[] = [];
  const ended = serve({
    socket: { path, mode: 0o600 },
    turns: new Turns(),
    maxTokens: 8,
    drainMs: options.drainMs ?? 2000,
    lookMs: 20,
    manager: ServiceManager.fromEnvironment((name) => options.variables?.[name]),
    log: openLog((line) => events.push(line), () => undefined),
    inUse: options.inUse ?? (() => ({ name: null })),
    earlier: () => (options.earlier ?? []).map((name) => ({ name })),
    open: options.open,
    signal: stop.signal,
  });
  return { events, stop: () => stop.abort(), ended };
}

Deno.test("serve() tells NOTIFY_SOCKET that it is ready after the model has answered, then pings, then stops", () =>
  inTempDir(async (folder) => {
    const [path, notify] = [join(folder, "socket"), join(folder, "notify")];
    await using manager = await listenDatagrams(notify);
    let release = () => {};
    const gate = new Promise<void>((resolve) => release = resolve);
    const running = daemon(path, {
      open: () => Promise.resolve(echo("base", () => gate)),
      variables: { NOTIFY_SOCKET: notify, WATCHDOG_USEC: "90000" },
    });
    await until(
      "it loads",
      () => manager.received.includes("STATUS=Loading the model") || undefined,
    );
    assertEquals([manager.received.length, isSocket(path)], [1, undefined]);
    release();
    await until("it pings", () => manager.received.includes("WATCHDOG=1") || undefined);
    assertMatch(manager.received[1], /^READY=1\nSTATUS=Answers with the base on /);
    assertEquals(await ask(path, "hello"), { model: "base", echo: "hello", by: "base" });
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
    running.stop();
    assertEquals(await running.ended, true);
    // A ping may have been on its way.
    const stopping = (line: string) => line.startsWith("STOPPING=1");
    await until("it stops", () => manager.received.some(stopping) || undefined);
    assertEquals(isSocket(path), undefined);
  }));

Deno.test("serve() stops to ping when an answer hangs, and ends at the bound", () =>
  inTempDir(async (folder) => {
    const [path, notify] = [join(folder, "socket"), join(folder, "notify")];
    await using manager = await listenDatagrams(notify);
    let hangs = false;
    const running = daemon(path, {
      open: () =>
        Promise.resolve(echo("base", () => hangs ? new Promise(() => {}) : Promise.resolve())),
      variables: { NOTIFY_SOCKET: notify, WATCHDOG_USEC: "90000" },
      drainMs: 100,
    });
    await until("it pings", () => manager.received.includes("WATCHDOG=1") || undefined);
    hangs = true;
    await new Promise((resolve) => setTimeout(resolve, 200)); // pings on their way arrive
    const before = manager.received.length;
    await new Promise((resolve) => setTimeout(resolve, 300));
    assertEquals(manager.received.length, before);
    const asked = ask(path, "hello").catch(() => "cut");
    await new Promise((resolve) => setTimeout(resolve, 50)); // the line is there
    running.stop();
    assertEquals(await running.ended, false);
    assertEquals(await asked, "cut");
  }));

Deno.test("serve() writes the answers in work before it ends, and refuses what comes then", () =>
  inTempDir(async (folder) => {
    const path = join(folder, "socket");
    let slow = false;
    const asked: (() => void)[] = [];
    const running = daemon(path, {
      open: () =>
        Promise.resolve(
          echo("base", () =>
            slow ? new Promise((resolve) => asked.push(resolve)) : Promise.resolve()),
        ),
    });
    await until("it listens", () => isSocket(path));
    slow = true;
    const answers = [ask(path, "one")];
    const open = await Deno.connect({ transport: "unix", path });
    await until("it is asked", () => asked.length === 1 || undefined);
    running.stop();
    await until("it refuses", async () => {
      const { error } = await ask(path, "late") as { error?: { status: string } };
      return error?.status === "ending" || undefined;
    });
    const late = JSON.parse(await answerOn(open, "on a connection from before"));
    assertEquals(late.error.status, "ending");
    assertEquals(asked.length, 1);
    asked[0]();
    assertEquals((await Promise.all(answers)).map(({ echo }) => echo), ["one"]);
    assertEquals(await running.ended, true);
  }));

Deno.test("serve() has an answer end at four fifths of the bound, and refuses those that wait", () =>
  inTempDir(async (folder) => {
    const path = join(folder, "socket");
    let begun = 0;
    const running = daemon(path, {
      open: () =>
        Promise.resolve({
          ...echo("base"),
          async ask(text, { signal }) {
            if (text === "ready") return {};
            begun++;
            await new Promise((resolve) => signal!.addEventListener("abort", resolve));
            return { text: "a part", finish_reason: "abort" };
          },
        }),
      drainMs: 500,
    });
    await until("it listens", () => isSocket(path));
    const first = ask(path, "one");
    await until("it is asked", () => begun === 1 || undefined);
    const second = ask(path, "two");
    await new Promise((resolve) => setTimeout(resolve, 50)); // the line is there
    running.stop();
    assertEquals(await first, { model: "base", text: "a part", finish_reason: "abort" });
    assertEquals((await second as { error: { status: string } }).error.status, "ending");
    assertEquals([await running.ended, begun], [true, 1]);
  }));

Deno.test("serve() has 16 texts of a user wait, and says that it is busy to more of that user", () =>
  inTempDir(async (folder) => {
    const path = join(folder, "socket");
    let [slow, open] = [false, () => {}];
    const gate = new Promise<void>((resolve) => open = resolve);
    const running = daemon(path, {
      open: () => Promise.resolve(echo("base", () => slow ? gate : Promise.resolve())),
    });
    await until("it listens", () => isSocket(path));
    slow = true;
    const told: unknown[] = [];
    const asked = Array.from({ length: 20 }, async (_, i) => {
      const { echo, error } = await ask(path, String(i));
      told.push(echo ?? (error as { status: string }).status);
    });
    try {
      await until("four are turned away", () => told.length === 4, 5000);
      assertEquals(told, ["busy", "busy", "busy", "busy"]);
    } finally {
      open();
      await Promise.all(asked);
      running.stop();
    }
    assertEquals(new Set(told).size, 17); // 16 answers, and that it is busy
    assertEquals(await running.ended, true);
  }));

Deno.test("serve() takes over another model once it answers, and stays where it does not", () =>
  inTempDir(async (folder) => {
    const path = join(folder, "socket");
    let inUse: InUse = { name: null };
    const opened: (string | null)[] = [];
    const running = daemon(path, {
      inUse: () => inUse,
      open: ({ name }) => {
        opened.push(name);
        if (name === "0002") return Promise.reject(new Error("it is broken"));
        return Promise.resolve(echo(name ?? "base"));
      },
    });
    await until("it listens", () => isSocket(path));
    inUse = { name: "0001", path: "/models/0001" };
    await until("it follows", async () => (await ask(path, "x")).by === "0001" || undefined);
    inUse = { name: "0002", path: "/models/0002" };
    await until("it has tried", () => opened.includes("0002") || undefined);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assertEquals((await ask(path, "x")).by, "0001");
    assertEquals(opened, [null, "0001", "0002"]); // not again and again
    assert(running.events.includes("Stays with model 0001: it is broken"), running.events.join());
    running.stop();
    await running.ended;
  }));

Deno.test("serve() begins with the newest earlier model that loads, and takes over the one in use once it does", () =>
  inTempDir(async (folder) => {
    const path = join(folder, "socket");
    const broken = new Set(["0003", "0002"]);
    const running = daemon(path, {
      inUse: () => ({ name: "0003" }),
      earlier: ["0002", "0001"],
      open: ({ name }) =>
        broken.has(name!)
          ? Promise.reject(new Error(`${name} is broken`))
          : Promise.resolve(echo(name!)),
    });
    await until("it listens", () => isSocket(path));
    assertEquals(await ask(path, "x"), { model: "0001", echo: "x", by: "0001" });
    const [first] = running.events;
    assertMatch(first, /in use, 0003, cannot be loaded: 0003 is broken\. model 0001 answers until/);
    broken.delete("0003");
    await until("it takes over", async () => (await ask(path, "x")).by === "0003" || undefined);
    running.stop();
    await running.ended;
  }));

Deno.test("serve() fails with what the model in use cannot be loaded for, where no earlier one can", () =>
  inTempDir(async (folder) => {
    const running = daemon(join(folder, "socket"), {
      inUse: () => ({ name: "0002" }),
      earlier: ["0001"],
      open: ({ name }) => Promise.reject(new StorageError(`${name} is broken`)),
    });
    await assertRejects(() => running.ended, StorageError, "0002 is broken");
    assert(running.events.join().includes("graft service rollback"), running.events.join());
  }));

Deno.test("serve() leaves a socket alone on which another service answers", () =>
  inTempDir(async (folder) => {
    const path = join(folder, "socket");
    const first = daemon(path, { open: () => Promise.resolve(echo("first")) });
    await until("the socket", () => isSocket(path));
    const second = daemon(path, { open: () => Promise.resolve(echo("second")) });
    await assertRejects(() => second.ended, StorageError, "another service answers there");
    assertEquals((await ask(path, "who")).by, "first");
    first.stop();
    await first.ended;
    assertEquals(isSocket(path), undefined);
  }));

Deno.test("serve() tries a model again that could not be loaded", () =>
  inTempDir(async (folder) => {
    const path = join(folder, "socket");
    let [wanted, tries]: [string | null, number] = [null, 0];
    const running = daemon(path, {
      inUse: () => ({ name: wanted }),
      open: ({ name }) => {
        if (name !== null && ++tries === 1) return Promise.reject(new Error("not there yet"));
        return Promise.resolve(echo(name ?? "base"));
      },
    });
    await until("the socket", () => isSocket(path));
    wanted = "0001";
    await until("it is loaded", async () => (await ask(path, "who")).by === "0001" || undefined);
    assertEquals(tries, 2);
    running.stop();
    await running.ended;
  }));

Deno.test("serve() ends an answer that nobody waits for, and not that of who has said all", () =>
  inTempDir(async (folder) => {
    const path = join(folder, "socket");
    const [begun, cut]: [string[], string[]] = [[], []];
    const slow: Answerer = {
      kind: "causal",
      async ask(text, { signal }) {
        begun.push(text);
        for (let i = 0; i < 40 && signal?.aborted !== true && text !== "ready"; i++) {
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        if (signal?.aborted) cut.push(text);
        return { echo: text };
      },
      [Symbol.dispose]() {},
    };
    const running = daemon(path, { open: () => Promise.resolve(slow) });
    await until("the socket", () => isSocket(path));
    const write = async (client: Deno.UnixConn, line: string) =>
      await client.write(new TextEncoder().encode(`${line}\n`));
    for (const line of ["gone", "gone, too"]) {
      const client = await Deno.connect({ transport: "unix", path });
      await write(client, line);
      await until("it has arrived", () => line !== "gone" || begun.includes(line) || undefined);
      client.close();
    }
    const waiting = await Deno.connect({ transport: "unix", path });
    await write(waiting, "waiting");
    await waiting.closeWrite();
    const chunk = new Uint8Array(100);
    const count = await waiting.read(chunk);
    waiting.close();
    assertEquals(JSON.parse(new TextDecoder().decode(chunk.subarray(0, count!))).echo, "waiting");
    assert(cut.includes("gone") && !cut.includes("waiting"), cut.join());
    running.stop();
    await running.ended;
  }));
