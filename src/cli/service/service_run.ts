/** `graft service run`: the unit's command: answers on a unix socket with the model in use. */
import { dirname } from "@std/path";
import { EXIT } from "../../errors.ts";
import { openAnswerer } from "../../service/answerer.ts";
import { serve } from "../../service/daemon.ts";
import { settle } from "../../service/settle.ts";
import { readEarlier, readInUse } from "../../service/state_files.ts";
import { Turns } from "../../service/turns.ts";
import { DRAIN_SECONDS } from "../../service/units.ts";
import { makeDirectory } from "../../system/durable_files.ts";
import { openLog } from "../../system/journal_log.ts";
import { ServiceManager } from "../../system/notify.ts";
import { INFERENCE_PARAMETERS } from "../../tasks/inference_model.ts";
import { command } from "../command.ts";
import { checkListens } from "./http_flags.ts";
import { integer, number, text } from "../flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { openRunner } from "../open_runner.ts";
import { ADAPTER_FLAGS, FINE_TUNING_FLAGS, WEBUI_FLAG } from "../serve/request_flags.ts";
import type { ServiceHttp, ServiceHttpFlags, ServiceHttpOptions } from "./service_http.ts";
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

/** Flags that mean something only with `--listen`. */
const HTTP_FLAGS = {
  apiKeyFile: text("File of keys for it, one a line", { placeholder: "FILE" }),
  parallel: integer("Answers over HTTP that are generated at the same time", {
    ...INFERENCE_PARAMETERS.parallel,
    short: "np",
    default: 4,
  }),
  webui: WEBUI_FLAG,
  ...ADAPTER_FLAGS,
  ...FINE_TUNING_FLAGS,
} as const;

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
    ...HTTP_FLAGS,
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
  environment: "GRAFT_ARG_",
  needs: ["net", "run"],
  async run({ flags, given, terminal }) {
    checkListens(flags.listen, HTTP_FLAGS, given);
    const folder = stateFolder(flags);
    const log = openLog((line) => terminal.note(line));
    settle(folder, log);
    makeDirectory(dirname(socketPath(flags)));
    using stop = new StopSignal(() => {});
    using runner = openRunner(flags);
    const turns = new Turns();
    const http = await openHttp(flags, { folder, runner, log, isAsked: () => turns.isAsked });
    const inTime = await serve({
      socket: { path: socketPath(flags), mode: fileMode(flags.socketMode) },
      http: http?.front,
      turns,
      maxTokens: flags.nPredict,
      drainMs: flags.drain * 1000,
      lookMs: LOOK_MS,
      manager: ServiceManager.fromEnvironment(),
      log,
      inUse: () => readInUse(folder),
      earlier: () => readEarlier(folder),
      async open({ path }) {
        if (path === undefined && http?.base !== undefined) return http.base;
        const parallel = http === undefined ? 1 : flags.parallel;
        return await openAnswerer(runner, path ?? flags.model, { parallel });
      },
      onReady: () => http?.startJobs(),
      signal: stop.signal,
    });
    // An inference that never ends must not keep the process.
    if (!inTime) Deno.exit(EXIT.ok);
    await http?.close();
    return EXIT.ok;
  },
});

/** Opens the HTTP side, if there is an address; its code is loaded only then, so that others start faster. */
async function openHttp(
  flags: ServiceHttpFlags & { readonly listen: string | undefined },
  surroundings: Omit<ServiceHttpOptions, "address">,
): Promise<ServiceHttp | undefined> {
  if (flags.listen === undefined) return undefined;
  const { openServiceHttp } = await import("./service_http.ts");
  return await openServiceHttp(flags, { ...surroundings, address: flags.listen });
}
