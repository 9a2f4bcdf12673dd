/** `graft service run`: the unit's command: answers on a unix socket with the model in use. */
import { dirname } from "@std/path";
import { EXIT } from "../../errors.ts";
import { openAnswerer } from "../../service/answerer.ts";
import { serve } from "../../service/daemon.ts";
import { settle } from "../../service/settle.ts";
import { readEarlier, readInUse } from "../../service/state_files.ts";
import { DRAIN_SECONDS } from "../../service/units.ts";
import { makeDirectory } from "../../system/durable_files.ts";
import { openLog } from "../../system/journal_log.ts";
import { ServiceManager } from "../../system/notify.ts";
import { command } from "../command.ts";
import { integer, number, text } from "../flags.ts";
import { openRunner, RUNTIME_FLAGS } from "../runtime_flags.ts";
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
    const inTime = await serve({
      socket: { path: socketPath(flags), mode: fileMode(flags.socketMode) },
      maxTokens: flags.nPredict,
      drainMs: flags.drain * 1000,
      lookMs: LOOK_MS,
      manager: ServiceManager.fromEnvironment(),
      log,
      inUse: () => readInUse(folder),
      earlier: () => readEarlier(folder),
      open: ({ path }) => openAnswerer(runner, path ?? flags.model),
      signal: stop.signal,
    });
    // An inference that never ends must not keep the process.
    if (!inTime) Deno.exit(EXIT.ok);
    return EXIT.ok;
  },
});
