/**
 * Runs that a provider records once and plays back: CUDA graphs, and WebGPU's equivalent. The user
 * requests them with the provider's own option. A session with this option refuses graphs that do not
 * run entirely on the provider, so only sessions whose runs are to be recorded get it.
 */
import { type Ort, type Provider, RunConfiguration } from "../../ffi/mod.ts";
import { ownValue } from "../records.ts";

/** The option of each provider that records. Source: ORT's cuda_provider_options.h, webgpu_provider_options.h. */
const OPTIONS: Readonly<Record<string, string>> = {
  CUDAExecutionProvider: "enable_cuda_graph",
  WebGpuExecutionProvider: "enableGraphCapture",
};

/** Whether a provider's options request recorded runs. */
export function recordsRuns({ name, options = {} }: Provider): boolean {
  const asked = options[ownValue(OPTIONS, name) ?? ""];
  return asked !== undefined && !/^(0|false)$/i.test(asked);
}

/** The provider for sessions whose runs are not recorded. */
export function withoutRecording<P extends Provider>(provider: P): P {
  const { [ownValue(OPTIONS, provider.name) ?? ""]: _, ...options } = provider.options ?? {};
  return { ...provider, options };
}

/** Run option that names a recording. Source: ORT's onnxruntime_run_options_config_keys.h. */
const RECORDING_ID = "gpu_graph_id";
const UNRECORDED = "-1";

/** Names the recordings of one session. */
export class Recorder implements Disposable {
  /** Configuration of a run that is neither recorded nor played back. */
  readonly unrecorded: RunConfiguration;
  readonly #ort: Ort;
  #recordings = 0;

  constructor(ort: Ort) {
    this.#ort = ort;
    this.unrecorded = new RunConfiguration(ort, { [RECORDING_ID]: UNRECORDED });
  }

  /** Configuration of a run that is recorded, and played back when the same configuration is used again. */
  recording(): RunConfiguration {
    return new RunConfiguration(this.#ort, { [RECORDING_ID]: String(++this.#recordings) });
  }

  [Symbol.dispose](): void {
    this.unrecorded[Symbol.dispose]();
  }
}
