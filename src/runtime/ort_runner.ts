/** {@linkcode Runner} over ONNX Runtime. */
import {
  canFlushDenormals,
  Environment,
  OrtError,
  OrtValue,
  Session,
  type SessionSettings,
} from "../../ffi/mod.ts";
import { bitsOf, byteLength, type DataType, ONNX_TYPE } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { rotateBeforeAttention } from "../graph/passes/rotate_before_attention.ts";
import type { Model } from "../graph/types.ts";
import { BadInputError, type GraftError, RuntimeFailure, UsageError } from "../errors.ts";
import { insideBinary } from "../system/embedded.ts";
import { openMapped } from "../system/mapped_file.ts";
import { processor } from "../system/processor.ts";
import { openOrt } from "./brought_library.ts";
import { canReside, DeviceMemory, hasElements, memoryOf } from "./device_memory.ts";
import { bytesDigest, folderDigest, modelDigest } from "./model_digest.ts";
import { placeInitializers } from "./initializers.ts";
import { asFailure, attempt, attemptAsync } from "./failure.ts";
import { limitedConfig, tooLarge } from "./memory_limit.ts";
import { OrtLists } from "./ort_lists.ts";
import { OrtExecutable } from "./ort_executable.ts";
import { OrtTensor, type TensorOwner } from "./ort_tensor.ts";
import { invalidModel, isBefore, releaseLimit } from "./release_limits.ts";
import type {
  CompileOptions,
  DeviceTensor,
  Executable,
  ListedRun,
  OnListedRun,
  Runner,
} from "./runner.ts";
import { safeForm } from "./safe_form.ts";
import { saturates } from "./saturates.ts";
import { withSessionPatience } from "./session_patience.ts";
import { type ProviderOptions, SessionProviders } from "./session_providers.ts";
import { signedProductOptions, signedProductOptionsOf } from "./signed_products.ts";

/** Options of opening the runtime. */
export interface OrtRunnerOptions extends ProviderOptions {
  /** Path of the library (also `GRAFT_ORT_LIB`); default: the included one. */
  readonly ortLib?: string;
  /** Threads of the shared pool; default: ORT's choice, the number of physical cores. */
  readonly threads?: number;
  /** Whether idle threads spin; default true. False leaves the cores to other programs between runs. */
  readonly spinning?: boolean;
  /** ORT's name of the memory for tensors; default: that of the providers. */
  readonly memory?: string;
  /** {@linkcode Runner.records}; default: by a provider's options. */
  readonly records?: boolean;
  /** {@linkcode Runner.memoryBytes}; default no limit. */
  readonly memoryBytes?: number;
  /** Optimisation level of sessions without their own; default `all`. */
  readonly optimization?: CompileOptions["optimization"];
  /** Least severe message that ORT writes to stderr; default `error`. */
  readonly logLevel?: "verbose" | "info" | "warning" | "error" | "fatal";
}

/** The first release with 4-bit element types. */
const INT4_SINCE = [1, 19, 0] as const;

/**
 * The first release whose GroupQueryAttention rotates correctly: earlier ones free the rotated values
 * before they read them, when other allocations may have overwritten them.
 */
const ROTATES_SINCE = [1, 20, 0] as const;

/**
 * Opens ONNX Runtime.
 *
 * @example
 * ```ts
 * import { createOrtRunner } from "./ort_runner.ts";
 * import { int64 } from "../graph/tensor.ts";
 *
 * using runner = createOrtRunner({ threads: 2 });
 * using executable = await runner.load("models/all-minilm-l6-v2-int8/model.onnx");
 * using tokens = runner.upload(int64([1, 3], [101, 7592, 102]));
 * using ones = runner.upload(int64([1, 3], [1, 1, 1]));
 * using zeros = runner.upload(int64([1, 3], [0, 0, 0]));
 * const feeds = { input_ids: tokens, attention_mask: ones, token_type_ids: zeros };
 * for (const [name, value] of Object.entries(await executable.run(feeds))) {
 *   console.log(name, value.dims);
 *   value[Symbol.dispose]();
 * }
 * ```
 *
 * @throws {RuntimeFailure} if the library is missing, not ONNX Runtime, or too old, or a provider does
 * not load
 */
export function createOrtRunner(options: OrtRunnerOptions = {}): Runner {
  const { threads, spinning, logLevel, memoryBytes: arenaBytes } = options;
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new UsageError(
      `Cannot open ONNX Runtime: threads must be >= 1: current value is ${threads}`,
    );
  }
  return attempt("Cannot open ONNX Runtime", () => {
    const ort = openOrt(options.ortLib, options.note ?? (() => {}));
    const environment = Environment.acquire(ort, { threads, spinning, logLevel, arenaBytes });
    try {
      return new OrtRunner(environment, options);
    } catch (error) {
      environment.release();
      throw error;
    }
  });
}

class OrtRunner implements Runner, TensorOwner {
  readonly description: string;
  readonly version: readonly [number, number, number];
  readonly traffic = { uploadedBytes: 0, readBytes: 0 };
  readonly tensors = new Set<OrtTensor>();
  readonly #executables = new Set<OrtExecutable>();
  readonly #environment: Environment;
  readonly #options: OrtRunnerOptions;
  readonly #providers: SessionProviders;
  /** Memory for tensors, if not host memory. */
  readonly #memory: DeviceMemory | undefined;
  readonly #lists: OrtLists;
  #disposed = false;

  constructor(environment: Environment, options: OrtRunnerOptions) {
    this.#environment = environment;
    this.#options = options;
    const { version } = environment.ort;
    const [major, minor, patch] = version.split(".").map((part) => parseInt(part, 10));
    this.version = [major, minor, patch || 0];
    this.#providers = new SessionProviders(environment, options);
    const names = [...this.providers, "CPUExecutionProvider"];
    this.description = `onnxruntime ${version} (${names.join(", ")})`;
    this.#lists = new OrtLists(this, environment.ort);
    const { list } = this.#providers;
    const memory = options.memory ?? memoryOf(list);
    if (memory !== undefined) {
      this.#memory = new DeviceMemory(environment, list, memory, !this.#providers.records);
    }
  }

  get providers(): readonly string[] {
    return this.#providers.names;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  get memoryBytes(): number | undefined {
    return this.#options.memoryBytes;
  }

  /** Whether values must be copied to a device of their own when they are bound. */
  get #copiesInputs(): boolean {
    return this.providers.length > 0 || this.#memory !== undefined;
  }

  async load(path: string, options: CompileOptions = {}): Promise<Executable> {
    const label = options.label ?? path;
    const precise = await this.#saturates() ? signedProductOptionsOf(path) : undefined;
    options = { ...options, config: { ...precise, ...options.config } };
    if (insideBinary(path)) {
      // The reason why ONNX Runtime cannot open it.
      using file = openMapped(path);
      const open = (settings: SessionSettings) =>
        Session.fromBytes(this.#environment, file.bytes, settings);
      return await this.#open(label, options, () => bytesDigest(file.bytes), open);
    }
    return await this.#open(
      label,
      options,
      () => folderDigest(path),
      (settings) => Session.fromFile(this.#environment, path, settings),
    );
  }

  compile(model: Model, options: CompileOptions = {}): Promise<Executable> {
    const label = options.label ?? (model.graph.name || "graph");
    return attemptAsync(`Cannot compile "${label}"`, async () => {
      const form = this.#providers.formOf(safeForm(this.#soundHere(model)));
      const { bytes, config, handed } = placeInitializers(form, this.version);
      // In this order, because the test of the processor compiles a graph itself.
      const signed = signedProductOptions(model.graph);
      const precise = signed !== undefined && await this.#saturates() ? signed : undefined;
      const values = new Map<string, OrtValue>();
      try {
        for (const [name, tensor] of handed) values.set(name, this.#over(tensor));
        return await this.#open(
          label,
          options,
          () => modelDigest(form, bytes),
          (settings) =>
            this.#patiently(
              label,
              model.graph.nodes.length,
              () =>
                Session.fromBytes(this.#environment, bytes as Uint8Array<ArrayBuffer>, {
                  ...settings,
                  config: { ...config, ...precise, ...settings.config },
                  externalInitializers: values,
                }),
            ),
        );
      } finally {
        for (const value of values.values()) value[Symbol.dispose]();
      }
    });
  }

  upload(value: Tensor): DeviceTensor {
    if (this.#resides(value)) return this.#send(value);
    const tensor = this.#allocate(value.dtype, value.dims);
    tensor.write(value);
    return tensor;
  }

  wrap(value: Tensor): DeviceTensor {
    this.#check(value.dtype);
    if (this.#resides(value)) return this.#send(value, true);
    // Kernels read elements in place, and some processors refuse unaligned ones.
    const bytesPerElement = Math.ceil(bitsOf(value.dtype) / 8);
    const address = Deno.UnsafePointer.value(
      Deno.UnsafePointer.of(value.bytes as Uint8Array<ArrayBuffer>),
    );
    if (BigInt(address) % BigInt(bytesPerElement) !== 0n) return this.upload(value);
    return new OrtTensor(this, this.#over(value), value, { readOnly: true });
  }

  share(value: Tensor): DeviceTensor {
    return new OrtTensor(this, this.#over(value), value);
  }

  runLists(lists: readonly (readonly ListedRun[])[], onRun?: OnListedRun) {
    this.#alive();
    return this.#lists.run(lists, onRun);
  }

  get listsFlush(): boolean {
    return canFlushDenormals();
  }

  get threads(): number {
    return this.#options.threads ?? processor().cores;
  }

  get inPlace(): boolean {
    return !this.#copiesInputs;
  }

  get onDevice(): boolean {
    return this.#memory !== undefined;
  }

  note(line: string): void {
    this.#options.note?.(line);
  }

  get records(): boolean {
    return this.onDevice && (this.#options.records ?? this.#providers.records);
  }

  allocate(dtype: DataType, dims: readonly number[]): DeviceTensor {
    if (this.#resides({ dtype, dims })) {
      this.#check(dtype);
      const bytes = new Uint8Array(byteLength(dtype, elementCount(dims)));
      return this.#onDevice({ dtype, dims: [...dims], bytes });
    }
    const tensor = this.#allocate(dtype, dims);
    tensor.value.clear(byteLength(dtype, elementCount(dims)));
    return tensor;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#lists[Symbol.dispose]();
    for (const executable of [...this.#executables]) executable[Symbol.dispose]();
    for (const tensor of [...this.tensors]) tensor[Symbol.dispose]();
    this.#memory?.[Symbol.dispose]();
    this.#providers[Symbol.dispose]();
    this.#environment.release();
  }

  /** @param digest of the model, for the names of its engines */
  async #open(
    label: string,
    options: CompileOptions,
    digest: () => Promise<string>,
    open: (settings: SessionSettings) => Promise<Session>,
  ): Promise<Executable> {
    this.#alive();
    const { settings, around = (work) => work(), afterFirstRun } = await this.#providers.forModel(
      label,
      options,
      digest,
    );
    const session = await around(() =>
      open({
        ...options,
        ...settings,
        config: limitedConfig(this.memoryBytes, { ...options.config, ...settings.config }),
        optimization: options.optimization ?? this.#options.optimization ?? "all",
        label,
      })
    ).catch((error) => {
      throw this.#explained(error, label) ?? asFailure(error, `Cannot compile "${label}"`);
    });
    const executable = new OrtExecutable(this, session, {
      label,
      copiesInputs: this.#copiesInputs,
      memory: this.#memory,
      recorded: options.recorded,
      around,
      afterFirstRun: (ran) => afterFirstRun?.(session, ran),
      onDispose: (executable) => this.#executables.delete(executable),
    });
    this.#executables.add(executable);
    // The runner may have been disposed of while the session was created.
    if (this.#disposed) executable[Symbol.dispose]();
    return executable;
  }

  /** Reports a session that takes long to compile, if there is a `note` callback. */
  #patiently<T>(label: string, nodes: number, work: () => Promise<T>): Promise<T> {
    const { note } = this.#options;
    return note === undefined ? work() : withSessionPatience(label, nodes, note, work);
  }

  /** The model without operators that this release computes wrongly. */
  #soundHere(model: Model): Model {
    return isBefore(this.version, ROTATES_SINCE) ? rotateBeforeAttention(model) : model;
  }

  /**
   * Whether products in 8-bit integers saturate here. Tested on the processor, because the option that
   * prevents it is slower and useless elsewhere.
   */
  async #saturates(): Promise<boolean> {
    return Deno.build.arch === "x86_64" && this.providers.length === 0 &&
      await saturates(this, "uint8", "int8");
  }

  #resides(value: Pick<Tensor, "dtype" | "dims">): boolean {
    return this.#memory !== undefined && canReside(value.dtype) && hasElements(value);
  }

  /** Copies a tensor to the device, and counts it. */
  #send(value: Tensor, readOnly = false): OrtTensor {
    this.#check(value.dtype);
    const tensor = this.#onDevice(value, readOnly);
    this.traffic.uploadedBytes += value.bytes.byteLength;
    return tensor;
  }

  #onDevice(tensor: Tensor, readOnly = false): OrtTensor {
    const { dtype, dims } = tensor;
    const memory = this.#memory!;
    const value = attempt(
      `Cannot allocate a ${dtype}[${dims}] tensor on the device`,
      () => memory.upload(tensor),
    );
    return new OrtTensor(this, value, { dtype, dims: [...dims] }, { readOnly, memory });
  }

  /** The error for an invalid model, or one that needs a feature that this release lacks. */
  #explained(error: unknown, label: string): GraftError | undefined {
    const message = error instanceof OrtError ? error.message : "";
    const invalid = invalidModel(message);
    if (invalid !== undefined) {
      return new BadInputError(`Cannot compile "${label}": ${invalid}`, { cause: error });
    }
    const limit = releaseLimit(message);
    if (limit === undefined) return undefined;
    const { version, path } = this.#environment.ort;
    return new RuntimeFailure(
      (name) =>
        `Cannot compile "${label}": ONNX Runtime ${version} at "${path}" ${limit}: ` +
        `point ${name("ortLib")} or GRAFT_ORT_LIB at a release that supports the model` +
        (this.#options.ortLib ? ", or leave both out for the included one" : ""),
      { cause: error },
    );
  }

  #allocate(dtype: DataType, dims: readonly number[]): OrtTensor {
    this.#check(dtype);
    const allocatedBytes = byteLength(dtype, elementCount(dims));
    this.#checkRoom(allocatedBytes, `Cannot allocate a ${dtype}[${dims}] tensor`);
    const value = attempt(
      `Cannot allocate a ${dtype}[${dims}] tensor`,
      () => OrtValue.allocate(this.#environment.ort, ONNX_TYPE[dtype], dims),
    );
    return new OrtTensor(this, value, { dtype, dims: [...dims] }, { allocatedBytes });
  }

  /** @throws {RefusedError} if tensors would exceed the memory limit */
  #checkRoom(bytes: number, what: string): void {
    const limit = this.memoryBytes;
    if (limit === undefined) return;
    let needed = bytes;
    for (const { allocatedBytes } of this.tensors) needed += allocatedBytes;
    if (needed > limit) throw tooLarge(what, needed, limit);
  }

  #over({ dtype, dims, bytes }: Tensor): OrtValue {
    this.#check(dtype);
    const { ort, hostMemory } = this.#environment;
    return attempt(
      `Cannot wrap a ${dtype}[${dims}] tensor`,
      () =>
        OrtValue.over(ort, hostMemory, bytes as Uint8Array<ArrayBuffer>, ONNX_TYPE[dtype], dims),
    );
  }

  #check(dtype: DataType): void {
    this.#alive();
    if (dtype === "string") {
      throw new BadInputError("Cannot make a tensor of strings: numbers only");
    }
    if (bitsOf(dtype) === 4 && isBefore(this.version, INT4_SINCE)) {
      const [major, minor] = INT4_SINCE;
      throw new RuntimeFailure(
        (name) =>
          `Cannot make a ${dtype} tensor: ONNX Runtime has the type since ${major}.${minor}: ` +
          `current value is ${this.version.join(".")}: point ${
            name("ortLib")
          } or GRAFT_ORT_LIB at ` +
          "a later release",
      );
    }
  }

  #alive(): void {
    if (this.#disposed) throw new ReferenceError("The runner was used after it was disposed of");
  }
}
