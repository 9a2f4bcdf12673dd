/** graft's default options of the providers that it supports. */
import { join } from "@std/path";

/** Facts that the options depend on. */
export interface OptionSurroundings {
  /** Whether CPU and GPU share their memory, as on a Jetson. */
  readonly unifiedMemory: boolean;
  /** Free memory, if known. */
  readonly freeBytes?: number;
  /** graft's cache; `undefined` if the environment names none. */
  readonly cache?: string;
}

/** Share of free memory for the arena if the CPU needs the rest. */
const UNIFIED_SHARE = 0.7;

/**
 * Options of a provider, in ONNX Runtime's names.
 *
 * CUDA: its arena grows only by the requested size, because training has many sessions with an arena
 * each; float32 products in float32, not TF32, so that losses agree with the CPU's. TensorRT: engines
 * and tactics' timings are kept.
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

/** Folder of TensorRT's engines, if they are kept. */
export function engineFolder(options: Readonly<Record<string, string>>): string | undefined {
  const kept = /^(1|true)$/i.test(options.trt_engine_cache_enable ?? "");
  return kept ? options.trt_engine_cache_path : undefined;
}

/**
 * Options of one model, with a prefix for its engines. TensorRT's provider names engines by the graph
 * alone, so that two merges of a base, which differ in weights, would share one (onnxruntime#32254).
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
