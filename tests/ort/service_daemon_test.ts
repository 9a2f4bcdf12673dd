import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import type { Answerer } from "../../src/service/answerer.ts";
import { serve } from "../../src/service/daemon.ts";
import type { InUse } from "../../src/service/state.ts";
import { ServiceManager } from "../../src/system/notify.ts";
import { openLog } from "../../src/system/journal_log.ts";
import { listenDatagrams } from "../helpers/datagrams.ts";
import { until } from "../helpers/systemd.ts";
import { inTempDir } from "../helpers/training_runs.ts";

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
  const client = await Deno.connect({ transport: "unix", path });
  await client.write(new TextEncoder().encode(`${line}\n`));
  let text = "";
  for await (const chunk of client.readable.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.endsWith("\n")) break;
  }
  return JSON.parse(text);
}

/** Starts `serve()` with fakes; the test ends it. */
function daemon(path: string, options: {
  readonly open: (inUse: InUse) => Promise<Answerer>;
  readonly inUse?: () => InUse;
  readonly variables?: Readonly<Record<string, string>>;
  readonly drainMs?: number;
}) {
  const stop = new AbortController();
  const events: string[] = [];
  const ended = serve({
    socket: { path, mode: 0o600 },
    maxTokens: 8,
    drainMs: options.drainMs ?? 2000,
    lookMs: 20,
    manager: ServiceManager.fromEnvironment((name) => options.variables?.[name]),
    log: openLog((line) => events.push(line), () => undefined),
    inUse: options.inUse ?? (() => ({ name: null })),
    open: options.open,
    signal: stop.signal,
  });
  return { events, stop: () => stop.abort(), ended };
}

const isSocket = (path: string) => {
  try {
    return Deno.statSync(path).isSocket || undefined;
  } catch {
    return undefined;
  }
};

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
    await until("it stops", () => /^STOPPING=1/.test(manager.received.at(-1)!) || undefined);
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

Deno.test("serve() writes the answers in work before it ends, and takes no more", () =>
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
    await until("it is asked", () => asked.length === 1 || undefined);
    running.stop();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const late = await ask(path, "late").catch(() => "refused");
    assertEquals(late, "refused");
    asked[0]();
    assertEquals((await Promise.all(answers)).map(({ echo }) => echo), ["one"]);
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
