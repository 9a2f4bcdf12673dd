/**
 * The interface to an inference runtime: compile a graph, hold tensors, run.
 *
 * Training, merging and serving are written against this interface; `ort_runner.ts` implements it
 * over ONNX Runtime. Tensors stay where the runtime keeps them until they are read.
 */
import type { Tensor } from "../graph/tensor.ts";
import type { DataType } from "../graph/dtype.ts";
import type { Model, ValueInfo } from "../graph/types.ts";

/** A tensor that the runtime holds. Dispose of it when done; reading copies it to the host. */
export interface DeviceTensor extends Disposable {
  /** Element type. */
  readonly dtype: DataType;
  /** Dimensions. */
  readonly dims: readonly number[];
  /**
   * Copies the contents to the host. Counted by {@linkcode Runner.traffic}.
   *
   * @param into bytes to use for it, of the contents' size; default: new ones
   */
  read(into?: Uint8Array<ArrayBuffer>): Tensor;
  /** Overwrites the contents; type and size must match. Counted by {@linkcode Runner.traffic}. */
  write(value: Tensor): void;
  /**
   * The contents without a copy, valid until the tensor is written or disposed of. For a device with its
   * own memory it is a copy.
   */
  view(): Tensor;
}

/** A model's metadata. */
export interface ExecutableMetadata {
  /** Program that wrote the model. */
  readonly producer: string;
  /** Name of the graph. */
  readonly graphName: string;
  /** Domain of the model. */
  readonly domain: string;
  /** What the model's file says of it. */
  readonly description: string;
  /** Absent if the model declares none. */
  readonly version?: number;
  /** The model's `metadata_props`. */
  readonly custom: Readonly<Record<string, string>>;
}

/** Options of a run. */
export interface RunOptions {
  /**
   * Whether the run is known to be short, so that the event loop may wait for it: another thread costs
   * tens of microseconds, and more than such a run if the cores are busy. Default false.
   */
  readonly brief?: boolean;
  /** Outputs that are written into existing tensors; the runtime allocates the others. */
  readonly into?: Readonly<Record<string, DeviceTensor>>;
}

/** Options of a bound run. */
export interface BoundRunOptions extends Pick<RunOptions, "brief"> {
  /**
   * Whether the provider records the run, and plays back what it has recorded since the last {@linkcode
   * BoundRun.feed}: the device executes one list instead of receiving single kernel launches. All bound
   * tensors must be on the device; changes of their contents between runs take effect. Only for graphs
   * compiled with {@linkcode CompileOptions.recorded}.
   */
  readonly recorded?: boolean;
}

/** A graph with its inputs and outputs fixed to tensors, for many runs without further set-up. */
export interface BoundRun extends Disposable {
  /** Feeds another tensor to a bound input, whatever its shape, from the next run on. */
  feed(name: string, tensor: DeviceTensor): void;
  /** Reads the bound feeds and overwrites the bound outputs. Blocks the event loop only if brief. */
  run(options?: BoundRunOptions): Promise<void>;
}

/** A compiled graph. */
export interface Executable extends Disposable {
  /** Names, types and shapes of the inputs; `"?"` is a dimension without a name. */
  readonly inputs: readonly ValueInfo[];
  /** Outputs of the graph. */
  readonly outputs: readonly ValueInfo[];
  /** Names of the inputs. */
  readonly inputNames: readonly string[];
  /** Names of the outputs. */
  readonly outputNames: readonly string[];
  /**
   * Runs, without blocking the event loop unless brief. The runtime allocates the outputs named in
   * `fetches` (default: all), and the caller owns them; the caller keeps ownership of the feeds.
   */
  run(
    feeds: Readonly<Record<string, DeviceTensor>>,
    fetches?: readonly string[],
    options?: RunOptions,
  ): Promise<Record<string, DeviceTensor>>;
  /**
   * Like {@linkcode run}, with some outputs written into existing tensors (static shapes, reused
   * buffers, key-value caches). Kernels may write an output before the last read of a feed: the caller
   * is responsible for tensors that are both.
   */
  runInto(
    feeds: Readonly<Record<string, DeviceTensor>>,
    outputs: Readonly<Record<string, DeviceTensor>>,
  ): Promise<void>;
  /**
   * Fixes feeds and outputs for repeated runs. The binding keeps the tensors alive; the next run sees
   * changes of a bound feed.
   */
  bind(
    feeds: Readonly<Record<string, DeviceTensor>>,
    outputs: Readonly<Record<string, DeviceTensor>>,
  ): BoundRun;
  /** What the model's file says of it. */
  readonly metadata: ExecutableMetadata;
  /** Ends profiling (see {@linkcode CompileOptions.profilePrefix}). */
  endProfiling(): ProfileTrace;
}

/** What a profiled session has written. */
export interface ProfileTrace {
  /** File of the trace. */
  readonly path: string;
  /** `performance.now()` at the zero of its events' times. */
  readonly startedAt: number;
}

/** Something that runs like a compiled graph. */
export type Runnable = Pick<Executable, "run">;

/**
 * A result of another run in lists, used as a feed: of an earlier run in the same list, or of any run in
 * another list that does not wait for this one.
 */
export interface EarlierResult {
  /** Number of its list. */
  readonly list: number;
  /** Index of the run in the list. */
  readonly run: number;
  /** Name of its output. */
  readonly output: string;
}

/** A run of all outputs of a graph, in a list of runs. */
export interface ListedRun {
  /** What runs. */
  readonly executable: Executable;
  /** The runtime owns a result of another run, and releases it when all its readers have run. */
  readonly feeds: Readonly<Record<string, DeviceTensor | EarlierResult>>;
  /** Outputs that are written into existing tensors; the runtime allocates the others. */
  readonly into: Readonly<Record<string, DeviceTensor>>;
  /** Runs of other lists that end before this one begins, though it reads none of their results. */
  readonly after?: readonly Pick<EarlierResult, "list" | "run">[];
}

/** Result of a run in a list. */
export interface ListedResult {
  /** Outputs that the runtime allocated and no other run reads, by name; the caller owns them. */
  readonly outputs: Readonly<Record<string, DeviceTensor>>;
  /** How long the run took. */
  readonly milliseconds: number;
}

/** Takes the result of a run in a list; it must not throw. */
export type OnListedRun = (list: number, run: number, result: ListedResult) => void;

/**
 * Session configuration: an arena of the session's own, released with it. In the shared arena the memory
 * of a short-lived session would stay, between later blocks.
 */
export const OWN_ARENA: NonNullable<CompileOptions["config"]> = {
  "session.use_env_allocators": "0",
};
/** Session configuration for a graph that runs once: slower, and without a second copy of the weights. */
export const WITHOUT_REPACKING: NonNullable<CompileOptions["config"]> = {
  "session.disable_prepacking": "1",
};

/** How a graph is compiled. */
export interface CompileOptions {
  /** ORT's graph optimisation level; default `all`. Graphs that must keep their own memory plan choose `basic` or `disabled`. */
  readonly optimization?: "disabled" | "basic" | "extended" | "all";
  /** Whether ORT plans memory from the first run's shapes: a little faster, more memory; default true. */
  readonly memoryPattern?: boolean;
  /**
   * Whether host memory is kept for the next run, in an arena that all sessions share; false frees every
   * tensor after its last reader. Default true.
   */
  readonly arena?: boolean;
  /**
   * Whether a run stays on the calling thread, so that as many runs as cores can run in parallel;
   * default false: all runs share one thread pool.
   */
  readonly singleThread?: boolean;
  /** Whether bound runs can be recorded; only where {@linkcode Runner.records}. Default false. */
  readonly recorded?: boolean;
  /** Session configuration entries, ORT's own key names. */
  readonly config?: Readonly<Record<string, string>>;
  /** Free-dimension overrides by name. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Writes ORT's Chrome-trace profile under this path prefix. */
  readonly profilePrefix?: string;
  /**
   * Also writes the optimised model to this path, with its weights beside it in `weights.bin`, packed
   * for this processor and this release: {@linkcode Runner.load} maps them instead of packing again.
   * Check the results: 1.30 computes wrong values from the file if MatMulNBits has `accuracy_level` 4
   * (`scripts/figures/prepacked.ts`).
   */
  readonly optimizedPath?: string;
  /** The session's name in errors. */
  readonly label?: string;
}

/** Compiles graphs, holds tensors, and runs the one on the other. */
export interface Runner extends Disposable {
  /** E.g. `"onnxruntime 1.30.0 (CPUExecutionProvider)"`. */
  readonly description: string;
  /** Execution providers that have precedence over the CPU's, best first. */
  readonly providers: readonly string[];
  /** `[major, minor, patch]` of the library. */
  readonly version: readonly [number, number, number];
  /** Compiles a model file from disk (external data beside it is resolved by the runtime). */
  load(path: string, options?: CompileOptions): Promise<Executable>;
  /**
   * Compiles a model in memory. Large initializers are not copied into the protobuf; those in a mapped
   * file stay there, so the file must not change while the executable exists.
   */
  compile(model: Model, options?: CompileOptions): Promise<Executable>;
  /** Copies a host tensor to the runtime. Counted by {@linkcode traffic}. */
  upload(value: Tensor): DeviceTensor;
  /** Wraps host bytes (e.g. a mapped file), without a copy if the device can read them; read-only. */
  wrap(value: Tensor): DeviceTensor;
  /**
   * A tensor over the caller's bytes that runs may also write. The bytes must neither move nor change
   * size while the tensor exists.
   */
  share(value: Tensor): DeviceTensor;
  /** Number of threads that share a run's operators. */
  readonly threads: number;
  /**
   * Whether kernels read and write tensors in place, on this host: one tensor can then be a feed and an
   * output of a run, if the kernels support it.
   */
  readonly inPlace: boolean;
  /**
   * Whether tensors, except shared ones, are in a device's own memory, where its kernels read and write
   * them in place.
   */
  readonly onDevice: boolean;
  /**
   * Whether the user requests recorded runs ({@linkcode CompileOptions.recorded}), by a provider's
   * option.
   */
  readonly records: boolean;
  /**
   * Memory limit of runs, without weights in mapped files; absent: no limit except the machine's. A run
   * that needs more ends with a `RefusedError`.
   */
  readonly memoryBytes?: number;
  /** Reports to the user what differs from the request. */
  note(line: string): void;
  /**
   * Runs lists in parallel, each in order and on one thread; graphs compiled for a single thread then
   * share no core. Requires {@linkcode inPlace}.
   *
   * @param onRun told of each run soon after its end, in order within a list, while others go on
   * @returns for each list, the results of its runs
   */
  runLists(
    lists: readonly (readonly ListedRun[])[],
    onRun?: OnListedRun,
  ): Promise<readonly (readonly ListedResult[])[]>;
  /**
   * Whether threads that run lists treat denormal numbers as zero, so that they are not slower than
   * others.
   */
  readonly listsFlush: boolean;
  /** An uninitialised (zeroed) tensor. */
  allocate(dtype: DataType, dims: readonly number[]): DeviceTensor;
  /** Bytes copied between TypeScript and the runtime so far. */
  readonly traffic: { readonly uploadedBytes: number; readonly readBytes: number };
}
