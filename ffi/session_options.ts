/** `OrtSessionOptions` from plain data. */
import type { Ort } from "./api.ts";
import { create } from "./status.ts";
import { cString, cStrings, type Handle } from "./pointer.ts";
import { appendProvider, type Provider } from "./providers.ts";
import { unwrap } from "./status.ts";
import type { OrtValue } from "./value.ts";

/** `GraphOptimizationLevel`. */
const OPTIMIZATION_LEVEL = { disabled: 0, basic: 1, extended: 2, all: 99 } as const;

/** Settings of a session. Absent entries leave ORT's defaults. */
export interface SessionSettings {
  readonly optimization?: keyof typeof OPTIMIZATION_LEVEL;
  /** Plans memory from the first run's shapes; ORT's default is true. */
  readonly memoryPattern?: boolean;
  /** Whether memory is kept between runs, in the arena of all sessions; default true. */
  readonly arena?: boolean;
  /** Whether a run stays on the calling thread, instead of the pool of all sessions; default false. */
  readonly singleThread?: boolean;
  /** ORT's own key names. */
  readonly config?: Readonly<Record<string, string>>;
  /** Sizes of free dimensions by name. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Values of initializers that the model declares as external data. */
  readonly externalInitializers?: ReadonlyMap<string, OrtValue>;
  /** In order of preference; the CPU is always last. */
  readonly providers?: readonly Provider[];
  readonly profilePrefix?: string;
  /**
   * Path for the optimised model, with its large weights beside it in `weights.bin`, packed for this
   * processor's kernels. Source: onnxruntime_session_options_config_keys.h.
   */
  readonly optimizedPath?: string;
  /** The session's name in ORT's log. */
  readonly label?: string;
}

/** Creates session options, passes them to `use`, and releases them when its promise settles. */
export async function withSessionOptions<T>(
  ort: Ort,
  settings: SessionSettings,
  use: (options: Handle) => Promise<T>,
): Promise<T> {
  const options = createSessionOptions(ort, settings);
  try {
    return await use(options);
  } finally {
    ort.api.ReleaseSessionOptions(options);
  }
}

/** Creates session options, which the caller releases. */
export function createSessionOptions(ort: Ort, settings: SessionSettings): Handle {
  const options = create(ort.api, (out) => ort.api.CreateSessionOptions(out));
  try {
    apply(ort, options, settings);
    return options;
  } catch (error) {
    ort.api.ReleaseSessionOptions(options);
    throw error;
  }
}

function apply(ort: Ort, options: Handle, settings: SessionSettings): void {
  const { api } = ort;
  const entry = (key: string, value: string) =>
    unwrap(api, api.AddSessionConfigEntry(options, cString(key), cString(value)));
  // A session's own pool of one thread is only the calling thread.
  if (settings.singleThread) unwrap(api, api.SetIntraOpNumThreads(options, 1));
  else unwrap(api, api.DisablePerSessionThreads(options));
  entry("session.use_env_allocators", settings.arena === false ? "0" : "1");
  if (settings.arena === false) unwrap(api, api.DisableCpuMemArena(options));
  if (settings.optimization !== undefined) {
    const level = OPTIMIZATION_LEVEL[settings.optimization];
    unwrap(api, api.SetSessionGraphOptimizationLevel(options, level));
  }
  if (settings.memoryPattern === false) unwrap(api, api.DisableMemPattern(options));
  for (const [key, value] of Object.entries(settings.config ?? {})) entry(key, value);
  for (const [name, size] of Object.entries(settings.dims ?? {})) {
    unwrap(api, api.AddFreeDimensionOverrideByName(options, cString(name), BigInt(size)));
  }
  for (const provider of settings.providers ?? []) appendProvider(ort, options, provider);
  if (settings.profilePrefix !== undefined) {
    unwrap(api, api.EnableProfiling(options, cString(settings.profilePrefix)));
  }
  if (settings.optimizedPath !== undefined) {
    unwrap(api, api.SetOptimizedModelFilePath(options, cString(settings.optimizedPath)));
    entry("session.optimized_model_external_initializers_file_name", "weights.bin");
    entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024");
    entry("session.save_external_prepacked_constant_initializers", "1");
  }
  if (settings.label !== undefined) {
    unwrap(api, api.SetSessionLogId(options, cString(settings.label)));
  }
  const external = settings.externalInitializers ?? new Map<string, OrtValue>();
  if (external.size > 0) {
    const names = cStrings([...external.keys()]);
    const values = BigUint64Array.from([...external.values()], (value) => value.address);
    unwrap(
      api,
      api.AddExternalInitializers(options, names.pointers, values, names.count),
    );
  }
}
