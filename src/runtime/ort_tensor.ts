/** Tensors of ONNX Runtime, in host memory or in a device's memory. */
import type { OrtValue } from "../../ffi/mod.ts";
import { bitsOf, byteLength, type DataType, dataTypeOf } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { RuntimeFailure } from "../errors.ts";
import type { DeviceMemory } from "./device_memory.ts";
import { attempt } from "./failure.ts";
import type { DeviceTensor } from "./runner.ts";

/** Bytes copied so far; one object per runner. */
export interface Traffic {
  uploadedBytes: number;
  readBytes: number;
}

/** State of a runner that its tensors share. */
export interface TensorOwner {
  readonly traffic: Traffic;
  /** Tensors not yet disposed of. */
  readonly tensors: Set<OrtTensor>;
  readonly disposed: boolean;
}

/** A {@linkcode DeviceTensor} over an `OrtValue`. */
export class OrtTensor implements DeviceTensor {
  readonly value: OrtValue;
  readonly owner: TensorOwner;
  /**
   * Bytes that the runtime allocated for it alone; 0 for results of runs, and for tensors over other
   * memory.
   */
  readonly allocatedBytes: number;
  readonly #readOnly: boolean;
  /** Memory of the elements, if not host memory. */
  readonly #memory: DeviceMemory | undefined;
  #info: { dtype: DataType; dims: readonly number[] } | undefined;

  /** @param value this object takes ownership */
  constructor(
    owner: TensorOwner,
    value: OrtValue,
    info?: { dtype: DataType; dims: readonly number[] },
    { readOnly = false, memory, allocatedBytes = 0 }: {
      readonly readOnly?: boolean;
      readonly memory?: DeviceMemory;
      readonly allocatedBytes?: number;
    } = {},
  ) {
    this.allocatedBytes = allocatedBytes;
    this.owner = owner;
    this.value = value;
    this.#info = info;
    this.#readOnly = readOnly;
    this.#memory = memory;
    // A run that ends after its runner was disposed of returns tensors that must not be used.
    if (owner.disposed) value[Symbol.dispose]();
    else owner.tensors.add(this);
  }

  /** Whether the elements are in a device's memory, where runs use them without a copy. */
  get onDevice(): boolean {
    return this.#memory !== undefined;
  }

  get dtype(): DataType {
    return this.#known().dtype;
  }

  get dims(): readonly number[] {
    return this.#known().dims;
  }

  read(into?: Uint8Array<ArrayBuffer>): Tensor {
    const { dtype, dims } = this.#known();
    const count = elementCount(dims);
    const length = byteLength(dtype, count);
    if (into !== undefined && into.byteLength !== length) {
      throw new RangeError(
        `Cannot read a ${dtype}[${dims}] tensor: it has ${length} bytes: current value is ${into.byteLength}`,
      );
    }
    if (this.#memory !== undefined && length > 0) {
      const tensor = { dtype, dims, bytes: into ?? new Uint8Array(length) };
      attempt("Cannot read a tensor", () => this.#memory!.read(this.value, tensor));
      this.owner.traffic.readBytes += length;
      return tensor;
    }
    const bytes = this.value.read(length, into);
    // ORT does not write the unused half of the last byte.
    if (bitsOf(dtype) === 4 && count % 2 === 1) bytes[bytes.length - 1] &= 15;
    this.owner.traffic.readBytes += bytes.byteLength;
    return { dtype, dims, bytes };
  }

  write(tensor: Tensor): void {
    const { dtype, dims } = this.#known();
    if (this.#readOnly) {
      throw new TypeError(
        `Cannot write to a ${dtype}[${dims}] tensor that wraps the caller's bytes`,
      );
    }
    const size = byteLength(dtype, elementCount(dims));
    if (tensor.dtype !== dtype || tensor.bytes.byteLength !== size) {
      throw new TypeError(
        `Cannot write to a ${dtype}[${dims}] tensor of ${size} bytes: current value is ` +
          `${tensor.dtype}[${tensor.dims}] of ${tensor.bytes.byteLength} bytes`,
      );
    }
    if (this.#memory !== undefined && size > 0) {
      const shaped = { dtype, dims, bytes: tensor.bytes };
      attempt("Cannot write a tensor", () => this.#memory!.write(this.value, shaped));
    } else this.value.write(tensor.bytes);
    this.owner.traffic.uploadedBytes += size;
  }

  view(): Tensor {
    if (this.#memory !== undefined) return this.read();
    const { dtype, dims } = this.#known();
    return { dtype, dims, bytes: this.value.view(byteLength(dtype, elementCount(dims))) };
  }

  [Symbol.dispose](): void {
    this.owner.tensors.delete(this);
    this.value[Symbol.dispose]();
  }

  /** Reads an output's type and shape on first use, because most outputs only go from run to run. */
  #known(): { dtype: DataType; dims: readonly number[] } {
    if (this.#info === undefined) {
      const { elementType, dims } = attempt("Cannot read a tensor's type", () => this.value.info);
      const dtype = dataTypeOf(elementType);
      if (dtype === undefined || dtype === "string") {
        throw new RuntimeFailure(
          `Cannot use a tensor of ONNX element type ${elementType}: graft handles numbers and booleans only`,
        );
      }
      this.#info = { dtype, dims };
    }
    return this.#info;
  }
}
