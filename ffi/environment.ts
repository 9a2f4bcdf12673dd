/**
 * `OrtEnv`: the thread pool and the arena that every session of the process shares.
 *
 * One pool, because sessions with a pool each leave idle pools spinning on the cores (measured: 2.3
 * times slower); one arena, because the next session then reuses a session's free blocks.
 */
import type { Ort } from "./api.ts";
import { create } from "./status.ts";
import { cString, type Handle, Out, readCStrings } from "./pointer.ts";
import { OrtError, unwrap } from "./status.ts";

/** `OrtLoggingLevel`. */
const LOG_LEVEL = { verbose: 0, info: 1, warning: 2, error: 3, fatal: 4 } as const;

/** Settings of the shared environment; the first one to open it decides. */
export interface EnvironmentOptions {
  /** Threads of the shared pool, the calling one included; default: ORT's choice. */
  readonly threads?: number;
  /** Whether idle threads spin for work before they sleep; default true, ORT's own. */
  readonly spinning?: boolean;
  /** Least severe message that ORT writes to stderr; default `error`. */
  readonly logLevel?: keyof typeof LOG_LEVEL;
  /** Limit of the arena in bytes; default: none. */
  readonly arenaBytes?: number;
}

const live = new Map<string, Environment>();

/** One reference to the process's environment of one library; release it when done. */
export class Environment {
  readonly ort: Ort;
  readonly handle: Handle;
  /** `OrtMemoryInfo` of host memory. */
  readonly hostMemory: Handle;
  readonly #key: string;
  #references = 0;

  private constructor(ort: Ort, options: EnvironmentOptions, key: string) {
    const { api } = ort;
    this.ort = ort;
    this.#key = key;
    const threading = create(api, (out) => api.CreateThreadingOptions(out));
    try {
      unwrap(api, api.SetGlobalIntraOpNumThreads(threading, options.threads ?? 0));
      // Sessions run their nodes in order, so the inter-op pool needs no threads.
      unwrap(api, api.SetGlobalInterOpNumThreads(threading, 1));
      unwrap(api, api.SetGlobalSpinControl(threading, options.spinning === false ? 0 : 1));
      this.handle = create(api, (out) =>
        api.CreateEnvWithGlobalThreadPools(
          LOG_LEVEL[options.logLevel ?? "error"],
          cString("graft"),
          threading,
          out,
        ));
    } finally {
      api.ReleaseThreadingOptions(threading);
    }
    unwrap(api, api.DisableTelemetryEvents(this.handle));
    // OrtArenaAllocator = 1, OrtMemTypeDefault = 0
    this.hostMemory = create(api, (out) => api.CreateCpuMemoryInfo(1, 0, out));
    this.#shareArena(options.arenaBytes ?? 0);
  }

  /** @param limitBytes 0 for none */
  #shareArena(limitBytes: number): void {
    const { api } = this.ort;
    const most = BigInt(Math.floor(limitBytes));
    const arena = create(api, (out) => api.CreateArenaCfg(most, -1, -1, -1, out));
    try {
      unwrap(api, api.CreateAndRegisterAllocator(this.handle, this.hostMemory, arena));
    } catch (error) {
      // Another worker of the process has registered one; older releases refuse a second one.
      if (!(error instanceof OrtError && error.code === "INVALID_ARGUMENT")) throw error;
    } finally {
      api.ReleaseArenaCfg(arena);
    }
  }

  /**
   * The environment of `ort`, created if there is none. ORT has one environment per process, so a second
   * caller must request the same settings or none; the arena does not change.
   *
   * @throws {RangeError} if the environment has other settings
   */
  static acquire(ort: Ort, options: EnvironmentOptions = {}): Environment {
    const { threads, spinning, logLevel } = options;
    const key = JSON.stringify({ threads, spinning, logLevel });
    let environment = live.get(ort.path);
    if (environment === undefined) {
      environment = new Environment(ort, options, key);
      live.set(ort.path, environment);
    } else if (key !== "{}" && key !== environment.#key) {
      throw new RangeError(
        `Cannot open ONNX Runtime with ${key}: it is open in this process with ${environment.#key}: dispose of that runner first`,
      );
    }
    return environment.retain();
  }

  /** Adds a reference. */
  retain(): this {
    this.#references++;
    return this;
  }

  /** Releases a reference; the last one releases the pool and the arena. */
  release(): void {
    if (--this.#references > 0) return;
    live.delete(this.ort.path);
    this.ort.api.ReleaseMemoryInfo(this.hostMemory);
    this.ort.api.ReleaseEnv(this.handle);
  }
}

/** `OrtMemoryInfo` of the first device that ORT calls `name`: `Cuda`; the caller releases it. */
export function deviceMemory({ api }: Ort, name: string): Handle {
  // OrtArenaAllocator = 1, OrtMemTypeDefault = 0
  return create(api, (out) => api.CreateMemoryInfo(cString(name), 1, 0, 0, out));
}

/** Names of the execution providers that the library was built with, best first. */
export function availableProviders({ api }: Ort): string[] {
  const list = new Out();
  const count = new Out();
  unwrap(api, api.GetAvailableProviders(list.cell, count.cell));
  try {
    return readCStrings(list.handle, count.int);
  } finally {
    unwrap(api, api.ReleaseAvailableProviders(list.handle, count.int));
  }
}
