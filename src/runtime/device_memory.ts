/**
 * Tensors in a device's own memory, and copies to and from it.
 *
 * The C API of the releases that graft supports has no call that copies (`CopyTensors` came with 1.23),
 * but a run copies its feeds to the memory of its kernels and its results to the bound memory. So a run
 * of a graph of one Identity, on this thread, makes the copy.
 */
import {
  deviceMemory,
  type Environment,
  type IoBinding,
  OrtValue,
  type Provider,
  Session,
  shareArena,
} from "../../ffi/mod.ts";
import { bitsOf, type DataType, ONNX_TYPE } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { identityModel } from "./identity_model.ts";
import { ownValue } from "../records.ts";

/** ORT's names of the memory of providers with their own memory. Source: its `allocator.h`. */
const MEMORY: Readonly<Record<string, string>> = {
  CUDAExecutionProvider: "Cuda",
  TensorrtExecutionProvider: "Cuda",
  WebGpuExecutionProvider: "WebGPU_Buffer",
};

/** Name of the memory for tensors: that of the first provider with its own memory. */
export function memoryOf(providers: readonly Provider[]): string | undefined {
  return providers.map(({ name }) => ownValue(MEMORY, name)).find((name) => name !== undefined);
}

/** Option of CUDA's provider. */
const ARENA_LIMIT = "gpu_mem_limit";

/** Whether values of a type can be stored on a device, which requires that a graph can copy them. */
export function canReside(dtype: DataType): boolean {
  return dtype !== "string" && bitsOf(dtype) >= 8;
}

/** A device's memory. */
export class DeviceMemory implements Disposable {
  /** `OrtMemoryInfo`, for outputs that the runtime allocates there. */
  readonly info: Deno.PointerObject;
  readonly #environment: Environment;
  readonly #providers: readonly Provider[];
  readonly #copiers = new Map<DataType, Session>();
  #disposed = false;

  /**
   * @param name ORT's name of the memory
   * @param sharesArena whether sessions may share an arena there: not if runs are recorded, because a
   *   recording writes to its session's memory even if another session has it by then
   */
  constructor(
    environment: Environment,
    providers: readonly Provider[],
    name: string,
    sharesArena: boolean,
  ) {
    this.#environment = environment;
    this.#providers = providers;
    this.info = deviceMemory(environment.ort, name);
    if (sharesArena) this.#shareArena();
  }

  /**
   * Lets all sessions share one arena if a provider's arena has a limit, so that the limit holds for all
   * of them together.
   */
  #shareArena(): void {
    for (const provider of this.#providers) {
      const limit = provider.options?.[ARENA_LIMIT];
      if (limit === undefined || !/^\d+$/.test(limit)) continue;
      const { ort, handle } = this.#environment;
      if (shareArena(ort, handle, provider, this.info, BigInt(limit)) === undefined) return;
    }
  }

  /** A new value on the device with the contents of `tensor`. */
  upload(tensor: Tensor): OrtValue {
    using host = this.#over(tensor);
    const [value] = this.#copy(tensor.dtype, host, (binding) => binding.outputTo("y", this.info));
    return value;
  }

  /** Overwrites a value on the device. */
  write(value: OrtValue, tensor: Tensor): void {
    using host = this.#over(tensor);
    for (const same of this.#copy(tensor.dtype, host, (binding) => binding.output("y", value))) {
      same[Symbol.dispose]();
    }
  }

  /** Copies a value's contents into `tensor`'s bytes. */
  read(value: OrtValue, tensor: Tensor): void {
    using host = this.#over(tensor);
    for (const same of this.#copy(tensor.dtype, value, (binding) => binding.output("y", host))) {
      same[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const session of this.#copiers.values()) session[Symbol.dispose]();
    this.#copiers.clear();
    this.#environment.ort.api.ReleaseMemoryInfo(this.info);
  }

  #copy(dtype: DataType, from: OrtValue, bindTarget: (binding: IoBinding) => void): OrtValue[] {
    let copier = this.#copiers.get(dtype);
    if (copier === undefined) this.#copiers.set(dtype, copier = this.#copier(dtype));
    using binding = copier.bind();
    binding.input("x", from);
    bindTarget(binding);
    binding.synchronizeInputs();
    copier.runWithBindingHere(binding);
    binding.synchronizeOutputs();
    return binding.outputs();
  }

  #copier(dtype: DataType): Session {
    const bytes = identityModel("copy", dtype);
    return Session.fromBytesHere(this.#environment, bytes, {
      providers: this.#providers,
      label: `copy ${dtype}`,
    });
  }

  #over({ dtype, dims, bytes }: Tensor): OrtValue {
    if (this.#disposed) {
      throw new ReferenceError("The device's memory was used after it was disposed of");
    }
    const { ort, hostMemory } = this.#environment;
    return OrtValue.over(
      ort,
      hostMemory,
      bytes as Uint8Array<ArrayBuffer>,
      ONNX_TYPE[dtype],
      dims,
    );
  }
}

/** Whether a tensor has elements to copy; otherwise it stays on the host. */
export function hasElements({ dims }: { readonly dims: readonly number[] }): boolean {
  return elementCount(dims) > 0;
}
