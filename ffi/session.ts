/** `OrtSession`: a compiled model. */
import { Pinned } from "./pinned.ts";
import type { Ort } from "./api.ts";
import { create } from "./status.ts";
import type { Environment } from "./environment.ts";
import { IoBinding } from "./io_binding.ts";
import { cString, type CStrings, type Handle, Out, readCString, whileHeld } from "./pointer.ts";
import type { RunConfiguration } from "./run_options.ts";
import {
  createSessionOptions,
  type SessionSettings,
  withSessionOptions,
} from "./session_options.ts";
import { unwrap } from "./status.ts";
import { takeTypeInfo, type TensorInfo } from "./type_info.ts";

/** An input or output; `info` is absent if it is not a tensor. */
export interface Port {
  readonly name: string;
  readonly info?: TensorInfo;
}

/** Names of inputs or outputs in C's form, created once for many runs. */
export type Names = CStrings;

/** Owns one `OrtSession`. Disposing of it while it runs takes effect when the last run ends. */
export class Session extends Pinned {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly #environment: Environment;
  readonly #handle: Handle;

  private constructor(environment: Environment, handle: Handle) {
    super("session");
    this.#environment = environment.retain();
    this.#handle = handle;
    this.inputs = this.#ports("Input");
    this.outputs = this.#ports("Output");
  }

  /** Loads a model file; ORT resolves external data beside it. Does not block the event loop. */
  static fromFile(
    environment: Environment,
    path: string,
    settings: SessionSettings,
  ): Promise<Session> {
    const { api } = environment.ort;
    const file = cString(path);
    return Session.#open(
      environment,
      settings,
      file,
      (options, out) => api.CreateSession(environment.handle, file, options, out),
    );
  }

  /** Loads a model from its bytes, which are no longer needed afterwards. */
  static fromBytes(
    environment: Environment,
    bytes: Uint8Array<ArrayBuffer>,
    settings: SessionSettings,
  ): Promise<Session> {
    const { api } = environment.ort;
    const length = BigInt(bytes.byteLength);
    return Session.#open(
      environment,
      settings,
      bytes,
      (options, out) => api.CreateSessionFromArray(environment.handle, bytes, length, options, out),
    );
  }

  /** {@linkcode fromBytes} on this thread, for a graph of one node, which takes milliseconds. */
  static fromBytesHere(
    environment: Environment,
    bytes: Uint8Array<ArrayBuffer>,
    settings: SessionSettings,
  ): Session {
    const { ort } = environment;
    const options = createSessionOptions(ort, settings);
    try {
      const length = BigInt(bytes.byteLength);
      const handle = create(
        ort.api,
        (out) =>
          ort.api.CreateSessionFromArrayHere(environment.handle, bytes, length, options, out),
      );
      return new Session(environment, handle);
    } finally {
      ort.api.ReleaseSessionOptions(options);
    }
  }

  static async #open(
    environment: Environment,
    settings: SessionSettings,
    memory: object,
    call: (options: Handle, out: BigUint64Array<ArrayBuffer>) => Promise<Deno.PointerValue>,
  ): Promise<Session> {
    const { ort } = environment.retain();
    try {
      const out = new Out();
      const status = await withSessionOptions(
        ort,
        settings,
        (options) => whileHeld([memory, out.cell], () => call(options, out.cell)),
      );
      unwrap(ort.api, status);
      return new Session(environment, out.handle);
    } finally {
      environment.release();
    }
  }

  get ort(): Ort {
    return this.#environment.ort;
  }

  /** The handle; throws a `ReferenceError` after disposal. */
  get handle(): Handle {
    this.alive();
    return this.#handle;
  }

  /**
   * Runs once. A null address in `outputs` is replaced by a value that ORT allocates; other values are
   * written. The arrays and names must not be changed before the promise settles; the caller keeps the
   * values alive until then.
   *
   * @param brief whether the call blocks the event loop, instead of running on another thread
   */
  async run(
    inputNames: Names,
    inputs: BigUint64Array<ArrayBuffer>,
    outputNames: Names,
    outputs: BigUint64Array<ArrayBuffer>,
    brief = false,
  ): Promise<void> {
    const { api } = this.ort;
    const call = (run: typeof api.Run | typeof api.RunHere) =>
      run(
        this.handle,
        null,
        inputNames.pointers,
        inputs,
        inputNames.count,
        outputNames.pointers,
        outputNames.count,
        outputs,
      );
    if (brief) return unwrap(api, await call(api.RunHere));
    this.pin();
    try {
      const memory = [inputNames, inputs, outputNames, outputs];
      unwrap(api, await whileHeld(memory, async () => await call(api.Run)));
    } finally {
      this.unpin();
    }
  }

  /**
   * Runs once with the values of `binding`.
   *
   * @param brief as for {@linkcode run}
   * @param synchronize whether to wait until outputs have left the device
   * @param configuration settings of the run; default: ORT's
   */
  async runWithBinding(
    binding: IoBinding,
    { brief = false, synchronize = false, configuration }: {
      readonly brief?: boolean;
      readonly synchronize?: boolean;
      readonly configuration?: RunConfiguration;
    } = {},
  ): Promise<void> {
    const { api } = this.ort;
    const handle = this.handle;
    if (brief) {
      this.runWithBindingHere(binding, configuration);
      if (synchronize) binding.synchronizeOutputs();
      return;
    }
    const bound = binding.handle;
    const options = configuration?.handle ?? null;
    this.pin();
    binding.pin();
    configuration?.pin();
    try {
      unwrap(api, await api.RunWithBinding(handle, options, bound));
      if (synchronize) unwrap(api, api.SynchronizeBoundOutputs(bound));
    } finally {
      configuration?.unpin();
      binding.unpin();
      this.unpin();
    }
  }

  /** {@linkcode runWithBinding} on this thread; the run has ended when it returns. */
  runWithBindingHere(binding: IoBinding, configuration?: RunConfiguration): void {
    const { api } = this.ort;
    const options = configuration?.handle ?? null;
    unwrap(api, api.RunWithBindingHere(this.handle, options, binding.handle));
  }

  /** An empty binding of this session. */
  bind(): IoBinding {
    return new IoBinding(
      this.ort,
      create(this.ort.api, (out) => this.ort.api.CreateIoBinding(this.handle, out)),
      this.#environment.hostMemory,
    );
  }

  /** Milliseconds since 1970 at which profiling began, by the clock of the system. */
  profilingStart(): number {
    const { api } = this.ort;
    const out = new BigUint64Array(1);
    unwrap(api, api.SessionGetProfilingStartTimeNs(this.handle, out));
    return Number(out[0] / 1000n) / 1000;
  }

  /** Ends profiling and returns the path of the trace. */
  endProfiling(): string {
    const { api, allocator } = this.ort;
    return this.takeString((out) => api.SessionEndProfiling(this.handle, allocator, out));
  }

  /** Calls a function that writes a string of the default allocator, and frees the string. */
  takeString(call: (out: BigUint64Array<ArrayBuffer>) => Deno.PointerValue): string {
    const { api, allocator } = this.ort;
    const out = new Out();
    unwrap(api, call(out.cell));
    const text = readCString(out.pointer);
    if (out.pointer !== null) unwrap(api, api.AllocatorFree(allocator, out.pointer));
    return text;
  }

  #ports(side: "Input" | "Output"): Port[] {
    const { api, allocator } = this.ort;
    const out = new Out();
    unwrap(api, api[`SessionGet${side}Count`](this.#handle, out.cell));
    return Array.from({ length: out.number }, (_, i) => {
      const index = BigInt(i);
      const name = this.takeString((cell) =>
        api[`SessionGet${side}Name`](this.#handle, index, allocator, cell)
      );
      const info = create(
        api,
        (cell) => api[`SessionGet${side}TypeInfo`](this.#handle, index, cell),
      );
      return { name, info: takeTypeInfo(api, info) };
    });
  }

  protected override release(): void {
    this.ort.api.ReleaseSession(this.#handle);
    this.#environment.release();
  }
}
