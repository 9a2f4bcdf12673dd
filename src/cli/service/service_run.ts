/** `graft service run`: the unit's command: answers on a unix socket with the model in use. */
import { dirname } from "@std/path";
import { EXIT } from "../../errors.ts";
import type { HttpFront } from "../../service/http_front.ts";
import { openAnswerer } from "../../service/answerer.ts";
import { serve } from "../../service/daemon.ts";
import { settle } from "../../service/settle.ts";
import { readEarlier, readInUse } from "../../service/state_files.ts";
import { DRAIN_SECONDS } from "../../service/units.ts";
import { makeDirectory } from "../../system/durable_files.ts";
import { type Log, openLog } from "../../system/journal_log.ts";
import { ServiceManager } from "../../system/notify.ts";
import { INFERENCE_PARAMETERS } from "../../tasks/inference_model.ts";
import { command } from "../command.ts";
import { handedSocket, httpAddress, readKeys } from "./http_flags.ts";
import { integer, number, text } from "../flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { openRunner } from "../open_runner.ts";
import {
  fileMode,
  MODEL_FLAG,
  SOCKET_FLAG,
  socketPath,
  STATE_FLAG,
  stateFolder,
} from "./service_flags.ts";
import { StopSignal } from "../terminal/stop_signal.ts";

/** Interval of checks of the link. */
const LOOK_MS = 2000;

export default command({
  name: "service run",
  summary: "Answer lines of text with lines of JSON on a unix socket, with the model in use",
  flags: {
    ...MODEL_FLAG,
    ...STATE_FLAG,
    ...SOCKET_FLAG,
    socketMode: text("Permissions of the socket, octal", { default: "600", placeholder: "MODE" }),
    nPredict: integer("Most tokens of an answer", { short: "n", default: 512, min: 1 }),
    listen: text("Address at which OpenAI's API is answered, too; a socket of systemd is used", {
      placeholder: "HOST:PORT",
    }),
    apiKeyFile: text("File of keys for it, one a line", { placeholder: "FILE" }),
    parallel: integer("Answers over HTTP that are generated at the same time", {
      ...INFERENCE_PARAMETERS.parallel,
      short: "np",
      default: 4,
    }),
    drain: number("Seconds for answers in progress after it is told to stop", {
      default: DRAIN_SECONDS,
      min: 0,
    }),
    ...RUNTIME_FLAGS,
  },
  examples: [
    {
      command: "graft service run --state ./state --socket ./socket",
      does: "the service without systemd, until Ctrl-C",
    },
  ],
  needs: ["net", "run"],
  async run({ flags, terminal }) {
    const folder = stateFolder(flags);
    const log = openLog((line) => terminal.note(line));
    settle(folder, log);
    makeDirectory(dirname(socketPath(flags)));
    using stop = new StopSignal(() => {});
    using runner = openRunner(flags);
    const http = flags.listen === undefined ? undefined : await openHttp(flags.listen, flags, log);
    const inTime = await serve({
      socket: { path: socketPath(flags), mode: fileMode(flags.socketMode) },
      http,
      maxTokens: flags.nPredict,
      drainMs: flags.drain * 1000,
      lookMs: LOOK_MS,
      manager: ServiceManager.fromEnvironment(),
      log,
      inUse: () => readInUse(folder),
      earlier: () => readEarlier(folder),
      open: ({ path }) =>
        openAnswerer(runner, path ?? flags.model, http === undefined ? 1 : flags.parallel),
      signal: stop.signal,
    });
    // An inference that never ends must not keep the process.
    if (!inTime) Deno.exit(EXIT.ok);
    return EXIT.ok;
  },
});

/** Most requests over HTTP in work and waiting. */
const MOST_REQUESTS = 64;

/** Listens for HTTP, on systemd's socket if there is one. */
async function openHttp(
  address: string,
  { apiKeyFile, nPredict, parallel }: {
    readonly apiKeyFile: string | undefined;
    readonly nPredict: number;
    readonly parallel: number;
  },
  log: Log,
): Promise<HttpFront> {
  // Loaded only where it is asked for: the service starts faster without.
  const { Hosts, Keys } = await import("../../http/guard.ts");
  const { HttpFront } = await import("../../service/http_front.ts");
  const { openTracing } = await import("../../http/trace/open_tracing.ts");
  const keys = new Keys(apiKeyFile === undefined ? [] : readKeys(apiKeyFile));
  return await HttpFront.open({
    listen: { ...httpAddress(address, keys.needed), fd: handedSocket() },
    keys,
    hosts: new Hosts(),
    maxTokens: nPredict,
    parallel,
    mostRequests: MOST_REQUESTS,
    log,
    tracing: await openTracing((line) => log("warning", line)),
  });
}
