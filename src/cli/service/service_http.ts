/**
 * The HTTP side of `graft service run`: the model in use, and if requests may bring adapters or train them,
 * the base with these. A promoted model is another one than adapters are trained for.
 */
import { GraftError } from "../../errors.ts";
import type { Adapters } from "../../http/adapters.ts";
import { Admission } from "../../http/admission.ts";
import { Hosts, Keys } from "../../http/guard.ts";
import { openTracing } from "../../http/trace/open_tracing.ts";
import type { Runner } from "../../runtime/runner.ts";
import { type Answerer, openAnswerer, type OpenedAnswerer } from "../../service/answerer.ts";
import { HttpFront } from "../../service/http_front.ts";
import { JobTurns } from "../../service/training_turns.ts";
import type { Log } from "../../system/journal_log.ts";
import { unixSeconds } from "../../system/unix_time.ts";
import {
  type AdaptersSurroundings,
  checkAdapterFlags,
  openAdapters,
  switchedModules,
} from "../serve/adapters.ts";
import { openFineTuning } from "../serve/fine_tuning.ts";
import type { RequestFlags } from "../serve/request_flags.ts";
import { handedSocket, httpAddress, readKeys } from "./http_flags.ts";

/** Most requests over HTTP in work and waiting. */
const MOST_REQUESTS = 64;
/** Name of the base in requests, as on the socket. */
const BASE = "base";

export interface ServiceHttpFlags extends RequestFlags {
  readonly model: string;
  readonly apiKeyFile: string | undefined;
  readonly nPredict: number;
  readonly parallel: number;
  readonly webui: boolean;
}

export interface ServiceHttpOptions {
  /** Where it listens, unless systemd hands a socket over. */
  readonly address: string;
  /** The service's folder. */
  readonly folder: string;
  readonly runner: Runner;
  readonly log: Log;
  /** Whether lines of the socket are in work, which a training should not slow down either. */
  readonly isAsked: () => boolean;
}

export interface ServiceHttp {
  readonly front: HttpFront;
  /** The base, if it stays open for adapters; disposing of it does nothing. */
  readonly base?: Answerer;
  /** Begins with the jobs that wait. */
  startJobs(): void;
  /** Closes the base and its adapters, once requests are answered. */
  close(): Promise<void>;
}

/** Listens, and opens the base if requests may name adapters of it. */
export async function openServiceHttp(
  flags: ServiceHttpFlags,
  { address, folder, runner, log, isAsked }: ServiceHttpOptions,
): Promise<ServiceHttp> {
  checkAdapterFlags(flags);
  const keys = new Keys(flags.apiKeyFile === undefined ? [] : readKeys(flags.apiKeyFile));
  const admission = new Admission(MOST_REQUESTS);
  const isBusy = () => admission.inWork > 0 || isAsked();
  const onNote = (line: string) => log("warning", line);
  let adapters: Adapters | undefined;
  const fineTuning = flags.jobsDir === undefined ? undefined : openFineTuning(
    flags.jobsDir,
    flags,
    {
      ...{ path: flags.model, id: BASE, isBusy, onNote },
      adapters: () => adapters,
      turns: new JobTurns(folder),
    },
  );
  const front = await HttpFront.open({
    listen: { ...httpAddress(address, keys.needed), fd: handedSocket() },
    ...{ admission, keys, fineTuning, log },
    hosts: new Hosts(),
    maxTokens: flags.nPredict,
    parallel: flags.parallel,
    page: flags.webui,
    tracing: await openTracing(onNote),
  });
  const base = await openBase(flags, { runner, isBusy, onNote }).catch((error) => {
    if (!(error instanceof GraftError)) throw error;
    // The model in use can answer all the same.
    log("error", `No adapters are served: ${error.message}`);
    return undefined;
  });
  if (base !== undefined) {
    const { answerer: { model } } = base;
    adapters = base.adapters;
    front.keepBase({ id: BASE, created: unixSeconds(), model, adapters });
    await fineTuning?.loadTrained();
  }
  return {
    front,
    base: base && { ...base.answerer, [Symbol.dispose]() {} },
    startJobs: () => fineTuning?.jobs.start(),
    async close() {
      await base?.adapters.close();
      base?.answerer[Symbol.dispose]();
    },
  };
}

/** The base with its adapters, if requests may name any. */
async function openBase(
  flags: ServiceHttpFlags,
  { runner, ...surroundings }:
    & Pick<ServiceHttpOptions, "runner">
    & Pick<AdaptersSurroundings, "isBusy" | "onNote">,
): Promise<
  { readonly answerer: OpenedAnswerer; readonly adapters: Adapters } | undefined
> {
  if (!takesAdapters(flags)) return undefined;
  const open = (path: string, loraTargetModules: readonly string[] = []) =>
    openAnswerer(runner, path, { parallel: flags.parallel, loraTargetModules });
  const answerer = await open(flags.model, switchedModules(flags));
  using unused = new DisposableStack();
  unused.use(answerer);
  const adapters = await openAdapters(answerer.model, flags, {
    ...{ path: flags.model, id: BASE, ...surroundings },
    open: async (path) => (await open(path)).model,
  });
  if (adapters === undefined) return undefined;
  unused.move();
  return { answerer, adapters };
}

/** Whether requests may name adapters of the base. */
function takesAdapters({ loraDir, loraModules, jobsDir }: RequestFlags): boolean {
  return loraDir !== undefined || jobsDir !== undefined || loraModules.length > 0;
}
