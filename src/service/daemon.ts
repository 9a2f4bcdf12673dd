/**
 * The long-running service: keeps the model in use loaded and answers on a unix socket, with a watchdog
 * that covers inference, until it is stopped.
 */
import { GraftError } from "../errors.ts";
import { aborted } from "../system/aborted.ts";
import type { Log } from "../system/journal_log.ts";
import type { ServiceManager } from "../system/notify.ts";
import { type Answerer, probe } from "./answerer.ts";
import type { HttpFront } from "./http_front.ts";
import { LineServer } from "./line_server.ts";
import { Pulse } from "./pulse.ts";
import type { CycleName } from "./records.ts";
import type { InUse } from "./state_files.ts";
import type { Turns } from "./turns.ts";

export interface DaemonOptions {
  /** Path of the socket, and its permissions. */
  readonly socket: { readonly path: string; readonly mode: number };
  /** Answers over HTTP too, with the same model; already listening. */
  readonly http?: HttpFront;
  /** Of the lines on the socket, which are answered one after another. */
  readonly turns: Turns;
  /** Most tokens of an answer. */
  readonly maxTokens: number;
  /** Time for answers in progress after the service is told to end. */
  readonly drainMs: number;
  /** Interval of checks of the model in use. */
  readonly lookMs: number;
  readonly manager: ServiceManager;
  readonly log: Log;
  /** Returns the model that should be in use. */
  readonly inUse: () => InUse;
  /** Returns models to use if that cannot be loaded, the best first. */
  readonly earlier: () => readonly InUse[];
  /** Opens it: a promoted one or the base. */
  readonly open: (inUse: InUse) => Promise<Answerer>;
  /** Called once the model in use has answered. */
  readonly onReady?: () => void;
  /** Aborted when the service must end. */
  readonly signal: AbortSignal;
}

/** Checks between two tries to load a model that could not be loaded. */
const RETRY_LOOKS = 30;

/** Reason for a missing answer (docs/service.md): after `busy` and `ending` another try may succeed. */
export type ErrorStatus = "busy" | "ending" | "refused" | "failed";

/** A model with its name. */
interface Loaded {
  readonly name: CycleName | null;
  readonly answerer: Answerer;
}

const nameOf = (name: CycleName | null): string => name === null ? "the base" : `model ${name}`;

/**
 * Serves until the signal is aborted.
 *
 * @returns whether all answers in progress were written
 * @throws {GraftError} if the model in use cannot be loaded or does not answer, nor an earlier one
 */
export async function serve(options: DaemonOptions): Promise<boolean> {
  const { manager, log, socket, turns } = options;
  manager.status("Loading the model");
  let loaded = await loadFirst(options);
  const stopAnswers = new AbortController();
  using pulse = pulseOf(options, () => turns.take(() => probe(loaded.answerer)));
  const server = await LineServer.listen({
    ...socket,
    ending: ENDING,
    busy: BUSY,
    answer: async (line, gone, user) => {
      if (turns.full(user)) return BUSY;
      const signals = { stop: stopAnswers.signal, gone };
      return await turns.takeFor(
        user,
        () => answer(loaded, line, signals, options, () => pulse?.prove()),
      );
    },
  });
  await useOverHttp(options, loaded);
  manager.ready(`Answers with ${nameOf(loaded.name)} on ${socket.path}`);
  log("notice", `Answers with ${nameOf(loaded.name)} on ${socket.path}`, {
    MODEL: loaded.name ?? "base",
    EVENT: "ready",
  });
  options.onReady?.();

  const follow = followModel(options, () => loaded.name, async (next) => {
    // Between two answers, so that none is cut and two models never answer on the socket at the same
    // time; requests over HTTP finish on the model that they began with.
    await turns.take(() => {
      const before = loaded;
      loaded = next;
      const unused = useOverHttp(options, next);
      if (options.http === undefined) before.answerer[Symbol.dispose]();
      else void unused.then(() => before.answerer[Symbol.dispose]());
      return Promise.resolve();
    });
    manager.status(`Answers with ${nameOf(next.name)} on ${socket.path}`);
  });
  await aborted(options.signal);
  manager.stopping("Ending: answers in work are written");
  follow.stop();
  // A text in generation ends shortly before the limit.
  const cut = setTimeout(() => stopAnswers.abort(), options.drainMs * 0.8);
  const drained = [server.drain(options.drainMs), options.http?.drain(options.drainMs) ?? true];
  const inTime = (await Promise.all(drained)).every((ended) => ended);
  clearTimeout(cut);
  // An inference in progress still reads the model.
  if (inTime) await turns.take(() => Promise.resolve(loaded.answerer[Symbol.dispose]()));
  log(inTime ? "notice" : "warning", inTime ? "Ended in order" : "Ended with answers in work", {
    EVENT: "ended",
  });
  return inTime;
}

/** Has requests over HTTP answered by a model; resolves when none uses the one before. */
function useOverHttp({ http }: DaemonOptions, { name, answerer }: Loaded): Promise<void> {
  const { model } = answerer;
  return http !== undefined && model !== undefined
    ? http.use(name ?? "base", model)
    : Promise.resolve();
}

/** A line's answer or error as JSON. */
async function answer(
  { name, answerer }: Loaded,
  line: string,
  { stop, gone }: { readonly stop: AbortSignal; readonly gone: AbortSignal },
  { maxTokens, log }: DaemonOptions,
  onInference: () => void,
): Promise<string> {
  // Its turn did not come before the limit, or before the client left.
  if (stop.aborted || gone.aborted) return ENDING;
  try {
    const signal = AbortSignal.any([stop, gone]);
    const found = await answerer.ask(line, { maxTokens, signal, onInference });
    return JSON.stringify({ model: name ?? "base", ...found });
  } catch (error) {
    const refused = error instanceof GraftError;
    if (!refused) log("error", String(error));
    return errorJson(refused ? "refused" : "failed", (error as Error).message);
  }
}

/** Answer to a line that comes too late. */
const ENDING = errorJson("ending", "The service is ending: try again once it has started anew");

/** Answer to a line beyond the limit. */
const BUSY = errorJson("busy", "The service is busy: try again later");

function errorJson(status: ErrorStatus, message: string): string {
  return JSON.stringify({ error: { status, message } });
}

/**
 * Loads the model in use, or if that cannot be loaded, an earlier one, because no operator may be
 * present. It never loads the base instead, which was not trained for the requests.
 *
 * @throws the error of loading the model in use, if no other one can be loaded
 */
async function loadFirst(options: DaemonOptions): Promise<Loaded> {
  const wanted = options.inUse();
  try {
    return await load(options, wanted);
  } catch (error) {
    if (wanted.name === null) throw error;
    for (const other of earlierOf(options)) {
      const loaded = await load(options, other).catch(() => undefined);
      if (loaded === undefined) continue;
      options.log(
        "error",
        `The model in use, ${wanted.name}, cannot be loaded: ${(error as Error).message}. ` +
          `${nameOf(loaded.name)} answers until it can; \`graft service rollback\` has that stay`,
        { MODEL: loaded.name ?? "base", EVENT: "fell back" },
      );
      return loaded;
    }
    options.log(
      "error",
      "The model in use cannot be loaded: `graft service rollback` goes back to another",
    );
    throw error;
  }
}

/** Earlier models; none if their folder cannot be read. */
function earlierOf({ earlier, log }: DaemonOptions): readonly InUse[] {
  try {
    return earlier();
  } catch (error) {
    log("error", (error as Error).message);
    return [];
  }
}

/** Loads a model and lets it answer once. */
async function load({ open }: DaemonOptions, wanted: InUse): Promise<Loaded> {
  const answerer = await open(wanted);
  try {
    await probe(answerer);
  } catch (error) {
    answerer[Symbol.dispose]();
    throw error;
  }
  return { name: wanted.name, answerer };
}

function pulseOf(
  { manager, log }: DaemonOptions,
  probe: () => Promise<void>,
): Pulse | undefined {
  if (manager.watchdogMs === undefined) return undefined;
  return new Pulse({
    probe,
    ping: () => manager.ping(),
    onFault: (error) =>
      log("error", `The model does not answer: ${(error as Error).message}`, { EVENT: "hung" }),
    everyMs: manager.watchdogMs / 3,
  });
}

/** Checks regularly which model should be in use, and switches to another one once it answers. */
function followModel(
  options: DaemonOptions,
  current: () => CycleName | null,
  use: (next: Loaded) => Promise<void>,
): { stop(): void } {
  const { log, lookMs, inUse } = options;
  let stopped = false;
  let tried: { readonly name: CycleName | null; readonly at: number } | undefined;
  const look = async () => {
    const model = inUse();
    const wanted = model.name;
    if (wanted === current()) return void (tried = undefined);
    // It did not answer before either, but the problem may be fixed by now.
    if (wanted === tried?.name && performance.now() - tried.at < RETRY_LOOKS * lookMs) return;
    tried = { name: wanted, at: performance.now() };
    try {
      const next = await load(options, model);
      await use(next);
      log("notice", `Answers with ${nameOf(next.name)} now`, {
        MODEL: next.name ?? "base",
        EVENT: "swapped",
      });
    } catch (error) {
      log("error", `Stays with ${nameOf(current())}: ${(error as Error).message}`, {
        MODEL: wanted ?? "base",
        EVENT: "not swapped",
      });
    }
  };
  let timer: ReturnType<typeof setTimeout>;
  const next = () => {
    if (stopped) return;
    timer = setTimeout(
      () => look().catch((error) => log("error", (error as Error).message)).finally(next),
      lookMs,
    );
  };
  next();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
