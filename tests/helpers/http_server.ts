/** An HTTP server of this process, over a tiny model. */
import { Adapters } from "../../src/http/adapters.ts";
import type { AdapterWay } from "../../src/http/named_adapter.ts";
import { Admission } from "../../src/http/admission.ts";
import { type AccessEntry, createApp } from "../../src/http/app.ts";
import { BackgroundMerges } from "../../src/http/background_merges.ts";
import { Hosts, Keys } from "../../src/http/guard.ts";
import { listen, type ListenOptions } from "../../src/http/listen.ts";
import { Metrics } from "../../src/http/metrics.ts";
import type { ProcessEnd } from "../../src/jobs/yielding_process.ts";
import type { Tracing } from "../../src/http/trace/tracing.ts";
import { InferenceModel } from "../../src/tasks/inference_model.ts";
import { merge } from "../../src/tasks/merge.ts";
import { MINILM_DIR, modelDir } from "./fixture_models.ts";

export interface TestServerOptions extends Partial<ListenOptions> {
  readonly keys?: readonly string[];
  /** Most requests in work and waiting. */
  readonly most?: number;
  readonly parallel?: number;
  /** Folder that requests may load adapters from. */
  readonly loraDir?: string;
  /** Folder for merged models; adapters are not merged if absent. */
  readonly mergedDir?: string;
  readonly loraWay?: AdapterWay;
  readonly maxMerged?: number;
  /** Modules whose adapters are switched; default all linear layers. */
  readonly targetModules?: readonly string[];
  readonly tracing?: Tracing;
  /** Whether there is a page at `/`. */
  readonly page?: boolean;
}

export interface TestServer extends AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string;
  readonly port: number;
  readonly model: InferenceModel;
  readonly adapters?: Adapters;
  readonly admission: Admission;
  readonly entries: readonly AccessEntry[];
  readonly failures: readonly unknown[];
}

/** Serves a tiny model, or the one that graft embeds as `default`, under its name on a free port. */
export async function serveTiny(
  name = "tiny-llama-genai-fp32",
  options: TestServerOptions = {},
): Promise<TestServer> {
  const { keys = [], most = 64, parallel = 4, targetModules = ["all-linear"], ...rest } = options;
  const { loraDir, mergedDir, loraWay, maxMerged, page, tracing, ...network } = rest;
  const path = name === "default" ? MINILM_DIR : modelDir(name);
  const model = await InferenceModel.open({
    model: path,
    parallel,
    threads: 1,
    loraTargetModules: loraDir === undefined ? [] : targetModules,
  });
  const adapters = loraDir === undefined ? undefined : new Adapters(model, {
    ...{ base: name, folder: loraDir, maxRank: 8, most: 4, way: loraWay, mostMerged: maxMerged },
    merges: mergedDir === undefined ? undefined : new BackgroundMerges({
      folder: mergedDir,
      baseDigest: model.digest,
      start: (adapter, savePath) => mergeHere(path, adapter, savePath),
      open: (merged) => InferenceModel.open({ model: merged, parallel, threads: 1 }),
    }),
  });
  const admission = new Admission(most);
  const entries: AccessEntry[] = [];
  const failures: unknown[] = [];
  const app = createApp({
    models: { list: () => [{ id: name, created: 1_700_000_000, model, adapters }] },
    admission,
    metrics: new Metrics(() => admission.inWork, () => 0),
    parallel,
    stop: new AbortController().signal,
    onFailure: (error) => void failures.push(error),
    keys: new Keys(keys),
    hosts: new Hosts(["graft.test"]),
    page,
    onAccess: (entry) => void entries.push(entry),
    tracing,
  });
  const server = await listen(app.fetch, { host: "127.0.0.1", port: 0, ...network });
  return {
    url: `http://127.0.0.1:${server.port}`,
    port: server.port,
    model,
    adapters,
    admission,
    entries,
    failures,
    async [Symbol.asyncDispose]() {
      await server.close(0);
      await admission.end();
      await adapters?.close();
      model[Symbol.dispose]();
    },
  };
}

/** `graft merge` in this process. */
function mergeHere(model: string, adapter: string, savePath: string) {
  const stop = new AbortController();
  const merging = merge(
    { model, adapterPath: [adapter], savePath, latency: false, threads: 1 },
    { signal: stop.signal },
  );
  const ended: Promise<ProcessEnd> = merging.then(
    () => ({ ended: "done" }),
    (error) => stop.signal.aborted ? { ended: "stopped" } : { ended: "failed", why: error.message },
  );
  return { ended, stop: () => stop.abort() };
}

/** Sends JSON and returns status, headers and the parsed answer. */
export async function postJson(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: Headers; json: Record<string, unknown> }> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    json: text.startsWith("{") ? JSON.parse(text) : { text },
  };
}

/** What a server answers to bytes, as text, when it closes the connection or `ms` have passed. */
export async function sendBytes(
  port: number,
  pieces: readonly string[],
  ms = 20_000,
): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const timer = setTimeout(() => connection.close(), ms);
  let answer = "";
  try {
    const writer = connection.writable.getWriter();
    const writing = (async () => {
      for (const piece of pieces) await writer.write(new TextEncoder().encode(piece));
    })().catch(() => {});
    const decoder = new TextDecoder();
    for await (const chunk of connection.readable) {
      answer += decoder.decode(chunk, { stream: true });
    }
    await writing;
  } catch {
    // Closed by the server, or by the timer.
  }
  clearTimeout(timer);
  return answer;
}
