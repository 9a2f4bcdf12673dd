/** The flags of every verb that runs a model, and the runner they describe. */
import { gpuNodes } from "../doctor/system.ts";
import { UsageError } from "../errors.ts";
import { findGpuLibrary } from "../runtime/gpu_library.ts";
import { createOrtRunner } from "../runtime/ort_runner.ts";
import { type ProviderWish, wantsGpu } from "../runtime/provider_choice.ts";
import { runMemory } from "../runtime/memory_limit.ts";
import type { Runner } from "../runtime/runner.ts";
import { cacheDirectory } from "../system/cache_directory.ts";
import { device } from "../system/device.ts";
import { kernelAccess } from "../system/kernel_files.ts";
import { freeBytes, freeSwapBytes } from "../system/memory.ts";
import { integer, list, text, type Values } from "./flags.ts";
import { printable } from "./printable.ts";

export const RUNTIME_FLAGS = {
  ortLib: text("libonnxruntime to use instead of the included one (also GRAFT_ORT_LIB)", {
    placeholder: "FILE",
    group: "Runtime",
  }),
  ep: list(
    "Execution providers in order, the next where one cannot be used: auto, cpu, cuda, tensorrt, " +
      "or a name that ONNX Runtime lists; auto is cuda where it can be used, else cpu",
    { default: ["auto"], placeholder: "NAME,…", group: "Runtime" },
  ),
  epOption: list(
    "Option of the first provider, in ONNX Runtime's names, as gpu_mem_limit=2000000000; " +
      "trt_… goes to tensorrt, NAME:KEY=VALUE to the one named; may be given several times",
    { default: [], placeholder: "KEY=VALUE", verbatim: true, group: "Runtime" },
  ),
  threads: integer("Threads of ONNX Runtime; all cores if absent", {
    min: 1,
    short: "t",
    group: "Runtime",
  }),
} as const;

const LOG_LEVELS = ["verbose", "info", "warning", "error", "fatal"] as const;

/** Of a runner that a verb opens. */
export interface RunnerNeeds {
  /** Bytes of the model's files: what its runs may take is bounded by them and by what is free. */
  readonly modelBytes?: number;
}

/**
 * Opens ONNX Runtime as the flags ask; `GRAFT_ORT_LIB` says what `--ort-lib` does not, and where
 * neither does and a GPU is wanted, an `onnxruntime-gpu` that is installed is taken.
 *
 * @throws {UsageError} for providers or options that make no sense
 * @throws {RuntimeFailure} the library is missing, not ONNX Runtime, or too old; or no provider of the list can be used
 */
export function openRunner(
  flags: Values<typeof RUNTIME_FLAGS>,
  { modelBytes }: RunnerNeeds = {},
): Runner {
  const note = (line: string) => console.error(printable(line));
  const hasGpu = gpuNodes(kernelFiles).length > 0;
  const wish = { names: flags.ep, options: flags.epOption };
  return createOrtRunner({
    ortLib: libraryFor(flags.ortLib, wish, hasGpu, note),
    threads: flags.threads,
    ...(modelBytes === undefined ? {} : { memoryBytes: runMemory(modelBytes, thereBytes()) }),
    wish,
    hasGpu,
    logLevel: logLevel(),
    surroundings: {
      unifiedMemory: device().l4t !== undefined,
      freeBytes: freeBytes(),
      cache: cacheDirectory(),
    },
    note,
  });
}

/** Memory and swap that this process can still take; `undefined` where the system does not say. */
function thereBytes(): number | undefined {
  const free = freeBytes();
  return free === undefined ? undefined : free + freeSwapBytes();
}

/** The providers as another process of graft takes them. */
export function providerArguments(
  { ep, epOption }: Pick<Values<typeof RUNTIME_FLAGS>, "ep" | "epOption">,
): readonly string[] {
  return ["--ep", ep.join(), ...epOption.flatMap((option) => ["--ep-option", option])];
}

/**
 * The same library, the processor alone, while a runner that {@linkcode openRunner} opened is open:
 * for comparisons.
 */
export function openProcessor(flags: Values<typeof RUNTIME_FLAGS>): Runner {
  const hasGpu = gpuNodes(kernelFiles).length > 0;
  const wish = { names: flags.ep, options: flags.epOption };
  return createOrtRunner({
    ortLib: libraryFor(flags.ortLib, wish, hasGpu, () => {}),
    threads: flags.threads,
    logLevel: logLevel(),
  });
}

const kernelFiles = {
  exists: (path: string) => kernelAccess(path, "exists"),
  usable: (path: string) => kernelAccess(path, "usable"),
};

/** The library that the user names, else an installed one where a GPU is wanted, else graft's own. */
function libraryFor(
  ortLib: string | undefined,
  wish: ProviderWish,
  hasGpu: boolean,
  note: (line: string) => void,
): string | undefined {
  const named = ortLib ?? Deno.env.get("GRAFT_ORT_LIB");
  if (named || !wantsGpu(wish, hasGpu)) return named;
  const found = findGpuLibrary();
  if (found !== undefined) note(`ONNX Runtime with CUDA: ${found}`);
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
