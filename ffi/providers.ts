/** Execution providers by name, with ORT's names of their options. */
import type { Ort } from "./api.ts";
import { create } from "./status.ts";
import { cString, cStrings, type Handle } from "./pointer.ts";
import { OrtError, unwrap } from "./status.ts";

/** An execution provider to use before the CPU one. */
export interface Provider {
  /** E.g. `"CUDAExecutionProvider"`, `"TensorrtExecutionProvider"`, `"XNNPACK"`. */
  readonly name: string;
  /** ORT's own option names, e.g. `{ device_id: "0" }`. */
  readonly options?: Readonly<Record<string, string>>;
}

/** Appends a provider to session options; ORT prefers the providers appended first. */
export function appendProvider(ort: Ort, sessionOptions: Handle, provider: Provider): void {
  const { api } = ort;
  const entries = Object.entries(provider.options ?? {});
  const keys = cStrings(entries.map(([key]) => key));
  const values = cStrings(entries.map(([, value]) => value));
  const { count } = keys;
  switch (provider.name) {
    // CUDA and TensorRT have separate structs of options; the generic call does not support them in
    // every release from 1.18 on.
    case "CUDA":
    case "CUDAExecutionProvider": {
      const options = create(api, (out) => api.CreateCUDAProviderOptions(out));
      try {
        unwrap(api, api.UpdateCUDAProviderOptions(options, keys.pointers, values.pointers, count));
        unwrap(api, api.SessionOptionsAppendExecutionProvider_CUDA_V2(sessionOptions, options));
      } finally {
        api.ReleaseCUDAProviderOptions(options);
      }
      return;
    }
    case "TensorRT":
    case "TensorrtExecutionProvider": {
      const options = create(api, (out) => api.CreateTensorRTProviderOptions(out));
      try {
        unwrap(
          api,
          api.UpdateTensorRTProviderOptions(options, keys.pointers, values.pointers, count),
        );
        unwrap(api, api.SessionOptionsAppendExecutionProvider_TensorRT_V2(sessionOptions, options));
      } finally {
        api.ReleaseTensorRTProviderOptions(options);
      }
      return;
    }
    // Always there, and last.
    case "CPU":
    case "CPUExecutionProvider":
      return;
    default:
      unwrap(
        api,
        api.SessionOptionsAppendExecutionProvider(
          sessionOptions,
          cString(registeredName(provider.name)),
          keys.pointers,
          values.pointers,
          count,
        ),
      );
  }
}

/** `ArenaExtendStrategy::kSameAsRequested` */
const SAME_AS_REQUESTED = 1;

/**
 * Lets all sessions share one arena in a provider's memory, which grows by the requested size: a limit
 * then holds for all of them together. Must be called before sessions are created.
 *
 * @param environment `OrtEnv`
 * @param memory `OrtMemoryInfo` of the provider's memory
 * @param limitBytes largest size of the arena
 * @returns ORT's reason if it created none: each session then has its own arena
 */
export function shareArena(
  { api }: Ort,
  environment: Handle,
  provider: Provider,
  memory: Handle,
  limitBytes: bigint,
): string | undefined {
  const entries = Object.entries(provider.options ?? {});
  const keys = cStrings(entries.map(([key]) => key));
  const values = cStrings(entries.map(([, value]) => value));
  const arena = create(
    api,
    (out) => api.CreateArenaCfg(limitBytes, SAME_AS_REQUESTED, -1, -1, out),
  );
  try {
    unwrap(
      api,
      api.CreateAndRegisterAllocatorV2(
        environment,
        cString(provider.name),
        memory,
        arena,
        keys.pointers,
        values.pointers,
        keys.count,
      ),
    );
    return undefined;
  } catch (error) {
    if (error instanceof OrtError) return error.message;
    throw error;
  } finally {
    api.ReleaseArenaCfg(arena);
  }
}

/** Appends a provider to temporary options, to test whether it loads. */
export function tryProvider(ort: Ort, provider: Provider): void {
  const options = create(ort.api, (out) => ort.api.CreateSessionOptions(out));
  try {
    appendProvider(ort, options, provider);
  } finally {
    ort.api.ReleaseSessionOptions(options);
  }
}

/**
 * The generic call requires short names in ORT's own spelling (`QNN`, `OpenVINO`, `XNNPACK`), not those
 * of the list of available providers.
 */
function registeredName(name: string): string {
  if (name === "XnnpackExecutionProvider") return "XNNPACK";
  if (name === "AzureExecutionProvider") return "AZURE";
  if (name === "WebGpuExecutionProvider") return "WebGPU";
  return name.replace(/ExecutionProvider$/, "");
}
