/** Which ONNX Runtime is used, and how, as a configuration. */
import type { ParametersOf } from "../config/parameter.ts";

/** Which ONNX Runtime is used, and how. */
export interface RuntimeConfig {
  /**
   * Path of `libonnxruntime`; default: `GRAFT_ORT_LIB`, else an `onnxruntime-gpu` that is installed
   * where a GPU is wanted, else the library that graft brings.
   */
  readonly ortLib?: string;
  /**
   * Execution providers in order, the next where one cannot be used: `auto`, `cpu`, `cuda`, `tensorrt`,
   * or a name that ONNX Runtime lists; default `auto`, which is CUDA where it can be used, else the CPU.
   */
  readonly ep: readonly string[];
  /**
   * Options of the first provider in ONNX Runtime's names, as `gpu_mem_limit=2000000000`; those that
   * begin with `trt_` are TensorRT's, `NAME:KEY=VALUE` is for the provider named; default none.
   */
  readonly epOption: readonly string[];
  /** Threads, at least 1; default: one for each physical core. */
  readonly threads?: number;
}

/** What a {@linkcode RuntimeConfig} takes. */
export const RUNTIME_PARAMETERS = {
  ortLib: { kind: "text" },
  ep: { kind: "list", default: ["auto"] },
  epOption: { kind: "list", default: [], verbatim: true },
  threads: { kind: "integer", min: 1 },
} as const satisfies ParametersOf<RuntimeConfig>;

/** The runtime's part of a larger configuration. */
export function runtimeOf({ ortLib, ep, epOption, threads }: RuntimeConfig): RuntimeConfig {
  return { ortLib, ep, epOption, threads };
}
