/** A compiled graph: one ONNX Runtime session. */
import {
  addressOf,
  cStrings,
  type Earlier,
  modelMetadata,
  type Names,
  type NativeRun,
  OrtValue,
  type Pins,
  type Port,
  type Session,
} from "../../ffi/mod.ts";
import { dataTypeOf } from "../graph/dtype.ts";
import type { Dim, ValueInfo } from "../graph/types.ts";
import { UsageError } from "../errors.ts";
import { canReside, type DeviceMemory } from "./device_memory.ts";
import { asFailure, attempt, attemptAsync } from "./failure.ts";
import { OrtBoundRun } from "./ort_bound_run.ts";
import { OrtTensor, type TensorOwner } from "./ort_tensor.ts";
import { Recorder } from "./recorded_runs.ts";
import type {
  BoundRun,
  DeviceTensor,
  EarlierResult,
  Executable,
  ExecutableMetadata,
  ListedRun,
  ProfileTrace,
  RunOptions,
} from "./runner.ts";
import { emptyRecord, ownValue } from "../records.ts";

type Tensors = Readonly<Record<string, DeviceTensor>>;

function valueInfo({ name, info }: Port): ValueInfo {
  const dtype = info === undefined ? undefined : dataTypeOf(info.elementType);
  if (info === undefined || dtype === undefined) return { name };
  const shape: Dim[] = info.dims.map((size, i) => size >= 0 ? size : info.symbols[i] || "?");
  return { name, type: { dtype, shape } };
}

export class OrtExecutable implements Executable {
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly #owner: TensorOwner;
  readonly #session: Session;
  readonly #label: string;
  /** Whether bound values must be copied to a device with its own memory. */
  readonly #copiesInputs: boolean;
  /** Memory of outputs that the runtime allocates, if not host memory. */
  readonly #memory: DeviceMemory | undefined;
  /** Present if the session was created for recorded runs. */
  readonly #recorder: Recorder | undefined;
  /** Called once, after the first run or on disposal without a run. */
  #afterFirstRun: ((ran: boolean) => void) | undefined;
  /** Wraps runs that may take minutes. */
  readonly #around: <T>(work: () => Promise<T>) => Promise<T>;
  readonly #onDispose: (executable: OrtExecutable) => void;
  readonly #inputNames: Names;
  /** C arrays of output names, by requested list. */
  readonly #fetchNames = new Map<string, Names>();

  /** @param session this object takes ownership */
  constructor(
    owner: TensorOwner,
    session: Session,
    options: {
      readonly label: string;
      readonly copiesInputs: boolean;
      readonly memory?: DeviceMemory;
      readonly recorded?: boolean;
      readonly around: <T>(work: () => Promise<T>) => Promise<T>;
      readonly afterFirstRun: (ran: boolean) => void;
      readonly onDispose: (executable: OrtExecutable) => void;
    },
  ) {
    this.#owner = owner;
    this.#session = session;
    this.#label = options.label;
    this.#copiesInputs = options.copiesInputs;
    this.#memory = options.memory;
    if (options.recorded) this.#recorder = new Recorder(session.ort);
    this.#around = options.around;
    this.#afterFirstRun = options.afterFirstRun;
    this.#onDispose = options.onDispose;
    this.inputs = session.inputs.map(valueInfo);
    this.outputs = session.outputs.map(valueInfo);
    this.inputNames = session.inputs.map((port) => port.name);
    this.outputNames = session.outputs.map((port) => port.name);
    this.#inputNames = cStrings(this.inputNames);
  }

  /** Its name in errors. */
  get label(): string {
    return this.#label;
  }

  get metadata(): ExecutableMetadata {
    return attempt(
      `Cannot read the metadata of "${this.#label}"`,
      () => modelMetadata(this.#session),
    );
  }

  async run(
    feeds: Tensors,
    fetches: readonly string[] = this.outputNames,
    { brief, into = {} }: RunOptions = {},
  ): Promise<Record<string, DeviceTensor>> {
    if (this.#memory !== undefined) {
      return await this.#runBound(this.#memory, feeds, fetches, { brief, into });
    }
    const outputs = new BigUint64Array(Math.max(1, fetches.length));
    const written: OrtValue[] = [];
    fetches.forEach((name, i) => {
      const tensor = ownValue(into, name);
      if (tensor === undefined) return;
      const value = this.#valueOf(tensor, name);
      written.push(value);
      outputs[i] = value.address;
    });
    const result = emptyRecord<DeviceTensor>();
    await this.#run(feeds, fetches, outputs, { brief, written }, () => {
      const { ort } = this.#session;
      fetches.forEach((name, i) => {
        result[name] = ownValue(into, name) ??
          new OrtTensor(this.#owner, OrtValue.adopt(ort, outputs[i]));
      });
    });
    return result;
  }

  async runInto(feeds: Tensors, outputs: Tensors): Promise<void> {
    const fetches = Object.keys(outputs);
    const values = fetches.map((name) => this.#valueOf(outputs[name], name));
    const addresses = BigUint64Array.from(values, (value) => value.address);
    await this.#run(feeds, fetches, addresses, { written: values });
  }

  bind(feeds: Tensors, outputs: Tensors): BoundRun {
    const inputs = this.#feedTensors(feeds);
    this.#namesOf(Object.keys(outputs));
    const written = Object.entries(outputs)
      .map(([name, tensor]) => [name, this.#tensorOf(tensor, name)] as const);
    return new OrtBoundRun(
      {
        session: this.#session,
        label: this.#label,
        inputNames: this.inputNames,
        copiesInputs: this.#copiesInputs,
        recorder: this.#recorder,
        tensorOf: (tensor, name) => this.#tensorOf(tensor, name),
        around: this.#around,
        ran: () => this.#ran(),
      },
      inputs,
      new Map(written),
    );
  }

  /**
   * Encodes a run as numbers.
   *
   * @param earlier encodes an earlier result
   * @param pins keeps the objects alive that the run needs
   */
  listed(
    { feeds, into, after = [] }: ListedRun,
    earlier: (result: EarlierResult) => Earlier,
    pins: Pins,
  ): NativeRun {
    const pinned = (value: OrtValue) => {
      pins.hold(value);
      return value.address;
    };
    pins.hold(this.#session);
    const fetches = this.#namesOf(this.outputNames);
    return {
      session: BigInt(Deno.UnsafePointer.value(this.#session.handle)),
      inputNames: addressOf(this.#inputNames.pointers),
      inputs: this.inputNames.map((name) => {
        const feed = this.#fed(feeds, name);
        return "list" in feed ? earlier(feed) : pinned(this.#valueOf(feed, name));
      }),
      outputNames: addressOf(fetches.pointers),
      outputs: this.outputNames.map((name) => {
        const tensor = ownValue(into, name);
        return tensor === undefined ? 0n : pinned(this.#valueOf(tensor, name));
      }),
      after,
    };
  }

  endProfiling(): ProfileTrace {
    return attempt(`Cannot end the profile of "${this.#label}"`, () => {
      const startedAt = this.#session.profilingStart() - performance.timeOrigin;
      return { path: this.#session.endProfiling(), startedAt };
    });
  }

  [Symbol.dispose](): void {
    if (!this.#session.disposed) this.#ran(false);
    this.#recorder?.[Symbol.dispose]();
    this.#session[Symbol.dispose]();
    this.#onDispose(this);
  }

  /** @param adopt takes ownership of the outputs, before any object of the run can be released */
  async #run(
    feeds: Tensors,
    fetches: readonly string[],
    outputs: BigUint64Array<ArrayBuffer>,
    { written = [], brief }: { readonly written?: readonly OrtValue[]; readonly brief?: boolean },
    adopt?: () => void,
  ): Promise<void> {
    const values = this.#feedValues(feeds);
    const names = this.#namesOf(fetches);
    const inputs = new BigUint64Array(Math.max(1, values.length));
    for (let i = 0; i < values.length; i++) inputs[i] = values[i].address;
    this.#session.pin();
    for (const value of values) value.pin();
    for (const value of written) value.pin();
    try {
      await this.#around(() => this.#session.run(this.#inputNames, inputs, names, outputs, brief));
      adopt?.();
      this.#ran();
    } catch (error) {
      throw asFailure(error, `Cannot run "${this.#label}"`);
    } finally {
      for (const value of values) value.unpin();
      for (const value of written) value.unpin();
      this.#session.unpin();
    }
  }

  /** A run whose results stay on the device, which requires a binding. */
  async #runBound(
    memory: DeviceMemory,
    feeds: Tensors,
    fetches: readonly string[],
    { brief, into = {} }: RunOptions,
  ): Promise<Record<string, DeviceTensor>> {
    const inputs = this.#feedValues(feeds);
    this.#namesOf(fetches);
    const types = new Map(this.outputs.map(({ name, type }) => [name, type?.dtype]));
    return await attemptAsync(`Cannot run "${this.#label}"`, async () => {
      // The session may be disposed of during the run: it and its results stay until the end.
      this.#session.pin();
      using pinned = new DisposableStack();
      pinned.defer(() => this.#session.unpin());
      using binding = this.#session.bind();
      this.inputNames.forEach((name, i) => binding.input(name, inputs[i]));
      const resides = (name: string) => {
        const dtype = types.get(name);
        return dtype !== undefined && canReside(dtype);
      };
      for (const name of fetches) {
        const tensor = ownValue(into, name);
        if (tensor !== undefined) binding.output(name, this.#valueOf(tensor, name));
        else if (resides(name)) binding.outputTo(name, memory.info);
        else binding.outputToHost(name);
      }
      binding.synchronizeInputs();
      const configuration = this.#recorder?.unrecorded;
      await this.#around(() =>
        this.#session.runWithBinding(binding, { brief, synchronize: true, configuration })
      );
      const result = emptyRecord<DeviceTensor>();
      binding.outputs().forEach((value, i) => {
        const name = fetches[i];
        const tensor = ownValue(into, name);
        if (tensor !== undefined) {
          value[Symbol.dispose]();
          result[name] = tensor;
        } else {
          const place = resides(name) ? { memory } : {};
          result[name] = new OrtTensor(this.#owner, value, undefined, place);
        }
      });
      this.#ran();
      return result;
    });
  }

  #ran(ran = true): void {
    const after = this.#afterFirstRun;
    this.#afterFirstRun = undefined;
    after?.(ran);
  }

  /** The feeds' values in the order of the session's inputs. */
  #feedValues(feeds: Tensors): OrtValue[] {
    return this.#feedTensors(feeds).map(({ value }) => value);
  }

  #feedTensors(feeds: Tensors): OrtTensor[] {
    const tensors = this.inputNames.map((name) => this.#tensorOf(this.#fed(feeds, name), name));
    const given = Object.keys(feeds);
    if (given.length !== tensors.length) {
      const unknown = given.filter((name) => !this.inputNames.includes(name));
      throw new UsageError(
        `Cannot run "${this.#label}": it has no input "${unknown.join('", "')}": its inputs are ${
          this.inputNames.join(", ")
        }`,
      );
    }
    return tensors;
  }

  #fed<T>(feeds: Readonly<Record<string, T>>, name: string): T {
    const fed = ownValue(feeds, name);
    if (fed !== undefined) return fed;
    throw new UsageError(`Cannot run "${this.#label}": the input "${name}" is not fed`);
  }

  #valueOf(tensor: DeviceTensor, name: string): OrtValue {
    return this.#tensorOf(tensor, name).value;
  }

  #tensorOf(tensor: DeviceTensor, name: string): OrtTensor {
    if (!(tensor instanceof OrtTensor) || tensor.owner !== this.#owner) {
      throw new TypeError(
        `Cannot use the tensor for "${name}" in "${this.#label}": it belongs to another runner`,
      );
    }
    if (tensor.value.disposed) {
      throw new ReferenceError(
        `Cannot use the tensor for "${name}" in "${this.#label}": it was disposed of`,
      );
    }
    return tensor;
  }

  #namesOf(fetches: readonly string[]): Names {
    const key = fetches.join("\0");
    let names = this.#fetchNames.get(key);
    if (names === undefined) {
      const unknown = fetches.find((name) => !this.outputNames.includes(name));
      if (unknown !== undefined) {
        throw new UsageError(
          `Cannot run "${this.#label}": it has no output "${unknown}": its outputs are ${
            this.outputNames.join(", ")
          }`,
        );
      }
      if (fetches.length === 0) {
        throw new UsageError(`Cannot run "${this.#label}": no output is requested`);
      }
      this.#fetchNames.set(key, names = cStrings(fetches));
    }
    return names;
  }
}
