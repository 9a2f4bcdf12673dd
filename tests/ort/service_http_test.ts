import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { closeSync, openSync } from "node:fs";
import { join } from "@std/path";
import { StorageError } from "../../src/errors.ts";
import { Admission } from "../../src/http/admission.ts";
import { Hosts, Keys } from "../../src/http/guard.ts";
import type { ListenOptions } from "../../src/http/listen.ts";
import { openTracing } from "../../src/http/trace/open_tracing.ts";
import type { Tracing } from "../../src/http/trace/tracing.ts";
import { openAnswerer } from "../../src/service/answerer.ts";
import { serve } from "../../src/service/daemon.ts";
import { HttpFront } from "../../src/service/http_front.ts";
import type { InUse } from "../../src/service/state_files.ts";
import { Turns } from "../../src/service/turns.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { openLog } from "../../src/system/journal_log.ts";
import { ServiceManager } from "../../src/system/notify.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { postJson } from "../helpers/http_server.ts";
import { askOnce } from "../helpers/line_clients.ts";
import { otlpCollector } from "../helpers/otlp_collector.ts";
import { until } from "../helpers/until.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODELS: Readonly<Record<string, string>> = {
  "0001": modelDir("tiny-llama-genai-fp32"),
  "0002": modelDir("tiny-llama-genai-int4"),
};

const log = openLog(() => {}, () => undefined);

const front = (listen: ListenOptions) => ({
  listen,
  keys: new Keys([]),
  hosts: new Hosts(),
  maxTokens: 16,
  parallel: 4,
  admission: new Admission(64),
  log,
});

const daemon = (socket: string, signal: AbortSignal) => ({
  socket: { path: socket, mode: 0o600 },
  turns: new Turns(),
  maxTokens: 8,
  drainMs: 5000,
  lookMs: 20,
  manager: ServiceManager.fromEnvironment(() => undefined),
  log,
  inUse: (): InUse => ({ name: "0001" }),
  earlier: () => [],
  signal,
});

/** A service that answers on a socket and over HTTP, with whatever model `inUse` names. */
async function withService(
  body: (service: {
    readonly url: string;
    readonly socket: string;
    use(name: string): void;
    stop(): void;
    readonly ended: Promise<boolean>;
  }) => Promise<void>,
  tracing?: Tracing,
): Promise<void> {
  await inTempDir(async (folder) => {
    const socket = join(folder, "socket");
    using runner = createOrtRunner({ threads: 1 });
    let inUse = "0001";
    const stop = new AbortController();
    const http = await HttpFront.open({ ...front({ host: "127.0.0.1", port: 0 }), tracing });
    const ended = serve({
      ...daemon(socket, stop.signal),
      http,
      inUse: () => ({ name: inUse }),
      open: ({ name }) => openAnswerer(runner, MODELS[name!], { parallel: 4 }),
    });
    const url = `http://127.0.0.1:${await http.port()}`;
    await until("it is ready", async () => (await status(`${url}/health`)) === 200 || undefined);
    try {
      await body({ url, socket, ended, use: (name) => inUse = name, stop: () => stop.abort() });
    } finally {
      stop.abort();
      await ended;
    }
  });
}

async function status(url: string): Promise<number> {
  const response = await fetch(url);
  await response.body?.cancel();
  return response.status;
}

const complete = async (url: string, more: object = {}) => {
  const body = { prompt: "turn on the light", max_tokens: 12, temperature: 0, ...more };
  const { status, json } = await postJson(`${url}/v1/completions`, body);
  assertEquals(status, 200, JSON.stringify(json));
  const { model, choices } = json as { model: string; choices: { text: string }[] };
  return { model, text: choices[0].text };
};

Deno.test("serve() answers on the socket and over HTTP with one model", async () => {
  await withService(async ({ url, socket }) => {
    const [line, { model, text }] = await Promise.all([
      askOnce(socket, "turn on the light").then((answer) => answer as unknown as string),
      complete(url),
    ]);
    assert(JSON.stringify(line).includes("0001"));
    assertEquals(model, "0001");
    assertEquals((await complete(url)).text, text);
  });
});

Deno.test("serve() fails with StorageError if what it is handed as a socket is none", () =>
  inTempDir(async (folder) => {
    using runner = createOrtRunner({ threads: 1 });
    const fd = openSync(join(folder, "file"), "w");
    const http = await HttpFront.open(front({ host: "127.0.0.1", port: 8080, fd }));
    const failed = await assertRejects(
      () =>
        serve({
          ...daemon(join(folder, "socket"), new AbortController().signal),
          http,
          open: () => openAnswerer(runner, MODELS["0001"], { parallel: 1 }),
        }),
      StorageError,
    );
    assertMatch(
      failed.message,
      /^Cannot listen on descriptor \d+, handed over as 127\.0\.0\.1 port 8080: /,
    );
    closeSync(fd);
  }));

Deno.test("serve() changes the model under requests over HTTP: none fails, each finishes as it began", async () => {
  await withService(async ({ url, use }) => {
    const expected = new Map<string, string>();
    for (const name of ["0001", "0002"]) {
      use(name);
      const answer = await until("it answers", async () => {
        const found = await complete(url);
        return found.model === name ? found : undefined;
      });
      expected.set(name, answer.text);
    }
    assertEquals(new Set(expected.values()).size, 2);
    let going = true;
    const seen = new Set<string>();
    const clients = Array.from({ length: 4 }, async () => {
      while (going) {
        const { model, text } = await complete(url);
        assertEquals(text, expected.get(model));
        seen.add(model);
      }
    });
    for (let swap = 0; swap < 6; swap++) {
      const name = swap % 2 === 0 ? "0001" : "0002";
      use(name);
      await until("it has changed", async () => (await complete(url)).model === name || undefined);
    }
    going = false;
    await Promise.all(clients);
    assertEquals(seen.size, 2);
  });
});

Deno.test("serve() finishes requests over HTTP when it is stopped, and refuses later ones", async () => {
  await withService(async ({ url, stop, ended }) => {
    const asked = fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "turn on", max_tokens: 200, temperature: 0, stream: true }),
    });
    const response = await asked;
    stop();
    assert((await response.text()).endsWith("data: [DONE]\n\n"));
    assertEquals(await ended, true);
    assertEquals(await status(`${url}/health`).catch(() => 0), 0);
  });
});

Deno.test("serve() traces requests over HTTP, and sends the last when it ends", async () => {
  await using collector = otlpCollector();
  const environment: Record<string, string> = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "60000",
  };
  const tracing = await openTracing(() => {}, (name) => environment[name]);
  await withService(async ({ url }) => void await complete(url), tracing);
  const [span] = collector.named("text_completion 0001");
  assertEquals(span.attributes["gen_ai.response.finish_reasons"], ["length"]);
});
