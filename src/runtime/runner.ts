/**
 * What graft asks of an inference runtime: compile a graph, hold tensors, run.
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
   * The contents where they lie, good until the tensor is written or disposed of. From a device with
   * memory of its own it is a copy.
   */
  view(): Tensor;
}

/** What a model says about itself. */
export interface ExecutableMetadata {
  /** Program that wrote the model. */
  readonly producer: string;
  /** Name of the graph. */
  readonly graphName: string;
  /** Domain of the model. */
  readonly domain: string;
  /** What the model's file says of it. */
  readonly description: string;
  /** Absent where the model states none. */
  readonly version?: number;
  /** The model's `metadata_props`. */
  readonly custom: Readonly<Record<string, string>>;
}

/** How a run is called. */
export interface RunOptions {
  /**
   * Whether the run is known to be short, so that the event loop may wait for it: to another thread
   * and back takes tens of microseconds, and longer than such a run where the cores are busy.
   * Default false.
   */
  readonly brief?: boolean;
  /** Outputs that are written into tensors that exist already; the runtime allocates the others. */
  readonly into?: Readonly<Record<string, DeviceTensor>>;
}

/** How a bound run is called. */
export interface BoundRunOptions extends Pick<RunOptions, "brief"> {
  /**
   * Whether the provider records the run, and plays back what it has recorded since the last
   * {@linkcode BoundRun.feed}: the device works through one list instead of being told of kernel after
   * kernel. All that is bound must lie on the device; what is written to it between runs is seen.
   * Only for what was compiled with {@linkcode CompileOptions.recorded}.
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
   * Runs, without blocking the event loop unless brief. The outputs named in `fetches` (all, if absent) are
   * allocated by the runtime and belong to the caller; feeds stay the caller's.
   */
  run(
    feeds: Readonly<Record<string, DeviceTensor>>,
    fetches?: readonly string[],
    options?: RunOptions,
  ): Promise<Record<string, DeviceTensor>>;
  /**
   * Like {@linkcode run}, with some outputs written into tensors that exist already
   * (static shapes, reused buffers, key-value caches). Kernels may write an output before the last
   * read of a feed: a tensor that is both is the caller's risk.
   */
  runInto(
    feeds: Readonly<Record<string, DeviceTensor>>,
    outputs: Readonly<Record<string, DeviceTensor>>,
  ): Promise<void>;
  /**
   * Fixes feeds and outputs for repeated runs. The binding keeps the tensors alive; what is written
   * to a bound feed between runs is seen by the next one.
   */
  bind(
    feeds: Readonly<Record<string, DeviceTensor>>,
    outputs: Readonly<Record<string, DeviceTensor>>,
  ): BoundRun;
  /** What the model's file says of it. */
  readonly metadata: ExecutableMetadata;
  /** Ends profiling (see {@linkcode CompileOptions.profilePrefix}) and returns the trace's path. */
  endProfiling(): string;
}

/** What runs like a compiled graph, however it is held. */
export type Runnable = Pick<Executable, "run">;

/**
 * A result of another run of some lists, as a feed: of an earlier one in its list, or of any in another
 * that does not wait for this.
 */
export interface EarlierResult {
  /** Number of its list. */
  readonly list: number;
  /** Index of the run in the list. */
  readonly run: number;
  /** Name of its output. */
  readonly output: string;
}

/** A run of all outputs of a graph, in a list of such. */
export interface ListedRun {
  /** What runs. */
  readonly executable: Executable;
  /** A result of another run is the runtime's until all that are fed it have run, and gone then. */
  readonly feeds: Readonly<Record<string, DeviceTensor | EarlierResult>>;
  /** Outputs that are written into tensors that exist already; the runtime allocates the others. */
  readonly into: Readonly<Record<string, DeviceTensor>>;
}

/** What came of a run in a list. */
export interface ListedResult {
  /** Outputs that the runtime allocated and no other run has taken, by name: the caller's. */
  readonly outputs: Readonly<Record<string, DeviceTensor>>;
  /** How long the run took. */
  readonly milliseconds: number;
}

/**
 * Session configuration: an arena of the session's own, which goes with it. In the one that sessions
 * share, what a short-lived one took would stay, between the blocks of what comes after.
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
   * Whether the host's memory is kept for the next run, in an arena that all sessions share; false
   * gives every tensor back as soon as nothing reads it. Default true.
   */
  readonly arena?: boolean;
  /**
   * Whether a run stays on the thread that it is called on, so that as many run beside each other as
   * there are cores; default false: all runs share one pool of threads, each of which may help.
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
   * Also writes the optimised model to this path, its weights beside it in `weights.bin`, packed for
   * this processor and this release: {@linkcode Runner.load} maps them instead of packing anew. Look
   * at what comes out: 1.30 computes nonsense from the file where MatMulNBits has `accuracy_level` 4
   * (`scripts/figures/prepacked.ts`).
   */
  readonly optimizedPath?: string;
  /** Names the session in errors. */
  readonly label?: string;
}

/** Compiles graphs, holds tensors, and runs the one on the other. */
export interface Runner extends Disposable {
  /** E.g. `"onnxruntime 1.30.0 (CPUExecutionProvider)"`. */
  readonly description: string;
  /** Execution providers that nodes are given to before the processor's, best first. */
  readonly providers: readonly string[];
  /** `[major, minor, patch]` of the library. */
  readonly version: readonly [number, number, number];
  /** Compiles a model file from disk (external data beside it is resolved by the runtime). */
  load(path: string, options?: CompileOptions): Promise<Executable>;
  /**
   * Compiles a model in memory. Large initializers are not copied into the protobuf; those that lie
   * in a mapped file stay in it, so the file must stay as it is while the executable lives.
   */
  compile(model: Model, options?: CompileOptions): Promise<Executable>;
  /** Copies a host tensor to the runtime. Counted by {@linkcode traffic}. */
  upload(value: Tensor): DeviceTensor;
  /** Wraps host bytes (e.g. a mapped file) without copying where the device can read them; read-only. */
  wrap(value: Tensor): DeviceTensor;
  /**
   * A tensor over the caller's bytes that runs may write as well: what is in the one is in the other
   * after a run. The bytes must neither move nor change size while the tensor lives.
   */
  share(value: Tensor): DeviceTensor;
  /** Threads that divide a run's operators among them. */
  readonly threads: number;
  /**
   * Whether kernels read and write tensors where they lie, on this host: one tensor can then be a
   * feed and an output of a run, for kernels that are made for it.
   */
  readonly inPlace: boolean;
  /**
   * Whether tensors lie in a device's own memory, but for those that are shared: kernels of that
   * device read and write them where they lie.
   */
  readonly onDevice: boolean;
  /**
   * Whether the user wants runs recorded that may be ({@linkcode CompileOptions.recorded}), by an
   * option of a provider that can.
   */
  readonly records: boolean;
  /**
   * Bytes that runs may take, beside weights that stay in mapped files; absent where nothing but the
   * machine bounds them. What asks for more ends with a `RefusedError`.
   */
  readonly memoryBytes?: number;
  /** Tells the user what is done in another way than was asked for. */
  note(line: string): void;
  /**
   * Runs lists beside each other, each in order and on one thread; graphs that are compiled for a
   * single thread then share no core. For a runner that is {@linkcode inPlace}.
   *
   * @returns for each list, the results of its runs
   */
  runLists(
    lists: readonly (readonly ListedRun[])[],
  ): Promise<readonly (readonly ListedResult[])[]>;
  /** Whether threads that run lists take numbers too small to be normal for zero, as fast as others. */
  readonly listsFlush: boolean;
  /** An uninitialised (zeroed) tensor. */
  allocate(dtype: DataType, dims: readonly number[]): DeviceTensor;
  /** Bytes that crossed between TypeScript and the runtime so far. */
  readonly traffic: { readonly uploadedBytes: number; readonly readBytes: number };
}
