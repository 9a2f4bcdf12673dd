/** ONNX Runtime as graft uses it on this machine: its library, providers, threads and memory. */
import { type Message, UsageError } from "../errors.ts";
import { cacheDirectory } from "../system/cache_directory.ts";
import { device } from "../system/device.ts";
import { gpuNodes } from "../system/gpu_nodes.ts";
import { freeBytes, freeSwapBytes } from "../system/memory.ts";
import { findGpuLibrary } from "./gpu_library.ts";
import { runMemory } from "./memory_limit.ts";
import { createOrtRunner } from "./ort_runner.ts";
import { type ProviderWish, wantsGpu } from "./provider_choice.ts";
import type { Runner } from "./runner.ts";

/** Which ONNX Runtime is used, and how. */
export interface RuntimeOptions {
  /**
   * Path of `libonnxruntime`; default: `GRAFT_ORT_LIB`, else an `onnxruntime-gpu` that is installed
   * where a GPU is wanted, else the library that graft brings.
   */
  readonly ortLib?: string;
  /**
   * Execution providers in order, the next where one cannot be used: `auto`, `cpu`, `cuda`, `tensorrt`,
   * or a name that ONNX Runtime lists; default `auto`, which is CUDA where it can be used, else the CPU.
   */
  readonly ep?: readonly string[];
  /**
   * Options of the first provider in ONNX Runtime's names, as `gpu_mem_limit=2000000000`; those that
   * begin with `trt_` are TensorRT's, `NAME:KEY=VALUE` is for the provider named.
   */
  readonly epOption?: readonly string[];
  /** Threads; default: one for each physical core. */
  readonly threads?: number;
}

/** What a runner is opened for. */
export interface RunnerPurpose {
  /** Bytes of the model's files: what its runs may take is bounded by them and by what is free. */
  readonly modelBytes?: number;
  /** Called with what is done in another way than asked for, and with what takes minutes. */
  readonly onNote?: (message: Message) => void;
}

const LOG_LEVELS = ["verbose", "info", "warning", "error", "fatal"] as const;

const wishOf = ({ ep = ["auto"], epOption = [] }: RuntimeOptions): ProviderWish => ({
  names: ep,
  options: epOption,
});

/**
 * Opens ONNX Runtime. `GRAFT_ORT_LOG` says how much it writes to standard error.
 *
 * @returns a runner; dispose of it after everything that it compiled or holds
 * @throws {UsageError} for providers or options that make no sense
 * @throws {RuntimeFailure} where the library is missing, not ONNX Runtime, or too old; or no provider
 *   of the list can be used
 *
 * @example
 * ```ts
 * import { float32 } from "../graph/tensor.ts";
 * import { openRunner } from "./open_runner.ts";
 *
 * using runner = openRunner({ ep: ["cpu"], threads: 2 });
 * using x = runner.upload(float32([2], [1, 2]));
 * console.log(x.read().dims);
 * ```
 */
export function openRunner(
  options: RuntimeOptions = {},
  { modelBytes, onNote = () => {} }: RunnerPurpose = {},
): Runner {
  const hasGpu = gpuNodes().length > 0;
  const wish = wishOf(options);
  return createOrtRunner({
    ortLib: libraryFor(options.ortLib, wish, hasGpu, onNote),
    threads: options.threads,
    ...(modelBytes === undefined ? {} : { memoryBytes: runMemory(modelBytes, thereBytes()) }),
    wish,
    hasGpu,
    logLevel: logLevel(),
    surroundings: {
      unifiedMemory: device().l4t !== undefined,
      freeBytes: freeBytes(),
      cache: cacheDirectory(),
    },
    note: onNote,
  });
}

/**
 * Opens the same library for the processor alone, for comparisons while a runner that
 * {@linkcode openRunner} opened is open.
 *
 * @throws {RuntimeFailure} where the library is missing, not ONNX Runtime, or too old
 */
export function openProcessor(options: RuntimeOptions): Runner {
  const hasGpu = gpuNodes().length > 0;
  return createOrtRunner({
    ortLib: libraryFor(options.ortLib, wishOf(options), hasGpu, () => {}),
    threads: options.threads,
    logLevel: logLevel(),
  });
}

/** Memory and swap that this process can still take; `undefined` where the system does not say. */
function thereBytes(): number | undefined {
  const free = freeBytes();
  return free === undefined ? undefined : free + freeSwapBytes();
}

/** The library that the user names, else an installed one where a GPU is wanted, else graft's own. */
function libraryFor(
  ortLib: string | undefined,
  wish: ProviderWish,
  hasGpu: boolean,
  onNote: (message: Message) => void,
): string | undefined {
  const named = ortLib ?? Deno.env.get("GRAFT_ORT_LIB");
  if (named || !wantsGpu(wish, hasGpu)) return named;
  const found = findGpuLibrary();
  if (found !== undefined) onNote(`ONNX Runtime with CUDA: ${found}`);
  return found;
}

/** How much ONNX Runtime writes to standard error: `GRAFT_ORT_LOG`. */
function logLevel(): typeof LOG_LEVELS[number] | undefined {
  const level = Deno.env.get("GRAFT_ORT_LOG");
  if (!level) return undefined;
  const known = LOG_LEVELS.find((name) => name === level);
  if (known !== undefined) return known;
  throw new UsageError(
    `GRAFT_ORT_LOG must be one of ${LOG_LEVELS.join(", ")}: current value is "${level}"`,
  );
}
