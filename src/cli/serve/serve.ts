/** `graft serve`: answers over HTTP in OpenAI's dialect until it is stopped. */
import { basename, resolve } from "@std/path";
import { EXIT, UsageError } from "../../errors.ts";
import { Admission } from "../../http/admission.ts";
import type { AccessEntry } from "../../http/app.ts";
import { Hosts, Keys } from "../../http/guard.ts";
import { HttpServer } from "../../http/http_server.ts";
import type { ServedModel } from "../../http/served_model.ts";
import { openTracing } from "../../http/trace/open_tracing.ts";
import { aborted } from "../../system/aborted.ts";
import { unixSeconds } from "../../system/unix_time.ts";
import { InferenceModel } from "../../tasks/inference_model.ts";
import { command } from "../command.ts";
import { note } from "../run/run.ts";
import { readKeys, requireKeys } from "../service/http_flags.ts";
import type { Terminal } from "../terminal/output.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { checkAdapterFlags, openAdapters, switchedModules } from "./adapters.ts";
import { openFineTuning } from "./fine_tuning.ts";
import { SERVE_FLAGS, type ServeFlags } from "./serve_flags.ts";

export default command({
  name: "serve",
  summary: "Answer over HTTP in OpenAI's dialect: chats, texts, vectors, classes",
  operands: "[MODEL]",
  maxOperands: 1,
  flags: SERVE_FLAGS,
  environment: "GRAFT_ARG_",
  examples: [
    {
      command: "graft serve ./smollm2-int4",
      does: "answers at http://127.0.0.1:8080/v1 until Ctrl-C",
    },
    {
      command: "graft serve ./smollm2-int4 --adapter-path adapters --parallel 8",
      does: "answers with an adapter, eight requests at a time",
    },
    {
      command: "graft serve ./smollm2-int4 --host 0.0.0.0 --api-key-file keys",
      does: "answers other machines that have a key",
    },
  ],
  needs: ["net", "run"],
  async run({ flags, operands, terminal }) {
    const path = modelPath(flags, operands);
    const id = flags.alias ?? basename(resolve(path));
    const keys = new Keys(keysOf(flags));
    requireKeys(flags.host, keys.needed);
    checkAdapterFlags(flags);
    using stop = new StopSignal(() => terminal.note("Stopping: answers in work are finished"));
    const admission = new Admission(flags.maxConcurrentRequests);
    const served: ServedModel[] = [];
    const fineTuning = flags.jobsDir === undefined
      ? undefined
      : openFineTuning(flags.jobsDir, flags, {
        ...{ path, id },
        isBusy: () => admission.inWork > 0,
        adapters: () => served[0]?.adapters,
        onNote: (line) => terminal.note(line),
      });
    const tracing = await openTracing((line) => terminal.note(line));
    const server = new HttpServer({
      listen: { host: flags.host, port: flags.port, requestMs: flags.timeout * 1000 },
      models: { list: () => served },
      admission,
      maxTokens: flags.nPredict < 0 ? undefined : flags.nPredict,
      parallel: flags.parallel,
      fineTuning,
      keys,
      hosts: new Hosts(flags.allowedHosts),
      page: flags.webui,
      onAccess: flags.accessLog ? (entry) => terminal.note(accessLine(entry)) : undefined,
      onFailure: (error, id) => terminal.note(`${id}: ${error}`),
      tracing,
    });
    // Before the model is loaded, so that a port in use costs no minute, and /health can tell.
    const port = await server.listen();
    try {
      const model = await load(path, switchedModules(flags), flags, terminal);
      const adapters = await openAdapters(model, flags, {
        ...{ path, id, isBusy: () => admission.inWork > 0 },
        open: (merged) => load(merged, [], flags, terminal),
        onNote: (line) => terminal.note(line),
      });
      served.push({ id, created: unixSeconds(), model, adapters });
      const host = flags.host.includes(":") ? `[${flags.host}]` : flags.host;
      await fineTuning?.loadTrained();
      fineTuning?.jobs.start();
      const url = `http://${host}:${port}`;
      const page = flags.webui ? `, with a page at ${url}/` : "";
      terminal.print(`Answers with ${served[0].id} at ${url}/v1${page}`);
      await aborted(stop.signal);
      const inTime = await server.drain(flags.drain * 1000);
      if (inTime) await adapters?.close();
      // An inference in work still reads the model.
      if (inTime) model[Symbol.dispose]();
      else Deno.exit(EXIT.ok);
      return EXIT.ok;
    } finally {
      await server.close();
    }
  },
});

function modelPath({ model }: ServeFlags, [operand]: readonly string[]): string {
  const path = model ?? operand;
  if (path !== undefined && (model === undefined || operand === undefined)) return path;
  throw new UsageError(
    path === undefined
      ? "graft serve needs a model: `graft serve MODEL`, a folder or .onnx file"
      : `The model is given twice: with --model and as "${operand}": give one of them`,
  );
}

function keysOf({ apiKey, apiKeyFile }: ServeFlags): readonly string[] {
  return [...apiKey, ...(apiKeyFile === undefined ? [] : readKeys(apiKeyFile))];
}

/**
 * Opens the model and compiles what it answers with.
 *
 * @param loraTargetModules as {@linkcode switchedModules} returns them
 */
async function load(
  path: string,
  loraTargetModules: readonly string[],
  flags: ServeFlags,
  terminal: Terminal,
): Promise<InferenceModel> {
  const { adapterPath, ctxSize, parallel, ortLib, ep, epOption, threads } = flags;
  const model = await InferenceModel.open(
    {
      ...{ model: path, adapterPath, ctxSize, parallel, ortLib, ep, epOption, threads },
      loraTargetModules,
    },
    { onEvent: (event) => note(event, terminal) },
  );
  try {
    if (model.kind === "classifier") await model.prepare("classify");
    await model.prepare(model.kind === "causal" ? "generate" : "embed");
    if (model.kind === "causal" && await model.parallel() < parallel) {
      terminal.note("The model reads one text at a time: requests wait for each other");
    }
    return model;
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

function accessLine({ id, method, path, status, ms, traceId }: AccessEntry): string {
  const trace = traceId === undefined ? "" : ` trace ${traceId}`;
  return `${method} ${path} ${status} ${Math.round(ms)} ms ${id}${trace}`;
}
