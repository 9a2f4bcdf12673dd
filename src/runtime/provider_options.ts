/** What graft sets of the providers that it is made for, where the user does not. */
import { join } from "@std/path";

/** What the options depend on. */
export interface OptionSurroundings {
  /** Whether processor and GPU share their memory, as on a Jetson. */
  readonly unifiedMemory: boolean;
  /** Memory that can be taken, where the system tells. */
  readonly freeBytes?: number;
  /** graft's cache; `undefined` where the environment names none. */
  readonly cache?: string;
}

/** Share of free memory that a session's arena may grow to where the processor needs the rest. */
const UNIFIED_SHARE = 0.7;

/**
 * Options of a provider, in ONNX Runtime's names.
 *
 * CUDA: its arena grows by what is asked for and no further, since training has many sessions with an
 * arena each; float32 products in float32, not TF32, so that losses are those of the processor.
 * TensorRT: engines and tactics' timings are kept.
 */
export function defaultOptions(
  name: string,
  { unifiedMemory, freeBytes, cache }: OptionSurroundings,
): Readonly<Record<string, string>> {
  if (name === "CUDAExecutionProvider") {
    const limit: Record<string, string> = unifiedMemory && freeBytes !== undefined
      ? { gpu_mem_limit: String(Math.floor(freeBytes * UNIFIED_SHARE)) }
      : {};
    return { arena_extend_strategy: "kSameAsRequested", use_tf32: "0", ...limit };
  }
  if (name === "TensorrtExecutionProvider" && cache !== undefined) {
    const folder = join(cache, "tensorrt");
    return {
      trt_engine_cache_enable: "1",
      trt_engine_cache_path: folder,
      trt_timing_cache_enable: "1",
      trt_timing_cache_path: folder,
    };
  }
  return {};
}

/** Folder of TensorRT's engines, where they are kept. */
export function engineFolder(options: Readonly<Record<string, string>>): string | undefined {
  const kept = /^(1|true)$/i.test(options.trt_engine_cache_enable ?? "");
  return kept ? options.trt_engine_cache_path : undefined;
}

/**
 * Options of one model: its engines begin with a prefix of its own. TensorRT's provider names them by
 * the graph alone, so that two merges of a base, which differ in weights, would share one
 * (onnxruntime#32254).
 *
 * @param digest of the model's bytes, weights included
 */
export function withEnginePrefix(
  options: Readonly<Record<string, string>>,
  digest: string,
): Readonly<Record<string, string>> {
  if (engineFolder(options) === undefined || options.trt_engine_cache_prefix !== undefined) {
    return options;
  }
  return { ...options, trt_engine_cache_prefix: `graft_${digest.slice(0, 16)}` };
}
