/** `OrtValue`: a tensor of ONNX Runtime. */
import { Pinned } from "./pinned.ts";
import type { Ort } from "./api.ts";
import { create } from "./status.ts";
import { type Handle, Out } from "./pointer.ts";
import { unwrap } from "./status.ts";
import { readTensorInfo } from "./type_info.ts";

const ONNX_TYPE_TENSOR = 1;

/**
 * Owns one `OrtValue`. A value in use by a running session is pinned: disposing of it then takes
 * effect when the run ends.
 */
export class OrtValue extends Pinned {
  readonly ort: Ort;
  /** The handle as a number, for pointer arrays. */
  readonly address: bigint;
  readonly #handle: Handle;
  /** Memory outside ORT that backs the tensor, referenced so that it is not collected. */
  #backing: ArrayBufferView | undefined;
  #data: Deno.PointerValue | undefined;

  private constructor(ort: Ort, handle: Handle, backing?: ArrayBufferView) {
    super("tensor");
    this.ort = ort;
    this.#handle = handle;
    this.address = BigInt(Deno.UnsafePointer.value(handle));
    this.#backing = backing;
  }

  /** Takes ownership of a value that ORT created. */
  static adopt(ort: Ort, address: bigint): OrtValue {
    const handle = Deno.UnsafePointer.create(address);
    if (handle === null) throw new TypeError("ONNX Runtime returned no value");
    return new OrtValue(ort, handle);
  }

  /** A tensor in memory that ORT allocates, contents undefined. `elementType` is ONNX's number. */
  static allocate(ort: Ort, elementType: number, dims: readonly number[]): OrtValue {
    const { api, allocator } = ort;
    const shape = BigInt64Array.from(dims, BigInt);
    return new OrtValue(
      ort,
      create(
        api,
        (out) =>
          api.CreateTensorAsOrtValue(allocator, shape, BigInt(dims.length), elementType, out),
      ),
    );
  }

  /** A tensor over `bytes`, without a copy; they must not change size or move. */
  static over(
    ort: Ort,
    hostMemory: Handle,
    bytes: Uint8Array<ArrayBuffer>,
    elementType: number,
    dims: readonly number[],
  ): OrtValue {
    const { api } = ort;
    const shape = BigInt64Array.from(dims, BigInt);
    // An empty array has no address, but ORT requires one: any address is valid for no bytes.
    const backing = bytes.byteLength > 0 ? bytes : new Uint8Array(8);
    return new OrtValue(
      ort,
      create(api, (out) =>
        api.CreateTensorWithDataAsOrtValue(
          hostMemory,
          Deno.UnsafePointer.of(backing),
          BigInt(bytes.byteLength),
          shape,
          BigInt(dims.length),
          elementType,
          out,
        )),
      backing,
    );
  }

  /** The handle; throws a `ReferenceError` after disposal. */
  get handle(): Handle {
    this.alive();
    return this.#handle;
  }

  /** Element type (ONNX's number) and dimensions. */
  get info(): { elementType: number; dims: number[] } {
    const { api } = this.ort;
    const kind = new Out();
    unwrap(api, api.GetValueType(this.handle, kind.cell));
    if (kind.int !== ONNX_TYPE_TENSOR) {
      throw new TypeError(`The value is not a tensor: its ONNXType is ${kind.int}`);
    }
    const info = create(api, (out) => api.GetTensorTypeAndShape(this.handle, out));
    try {
      const { elementType, dims } = readTensorInfo(api, info);
      return { elementType, dims };
    } finally {
      api.ReleaseTensorTypeAndShapeInfo(info);
    }
  }

  /** Address of the elements; may be null for a tensor without elements. */
  get data(): Deno.PointerValue {
    this.alive();
    if (this.#data === undefined) {
      const out = new Out();
      unwrap(this.ort.api, this.ort.api.GetTensorMutableData(this.#handle, out.cell));
      this.#data = out.pointer;
    }
    return this.#data;
  }

  /** Copies `length` bytes out, into `bytes` if given. */
  read(length: number, bytes = new Uint8Array(length)): Uint8Array<ArrayBuffer> {
    if (length > 0) new Deno.UnsafePointerView(this.data!).copyInto(bytes);
    return bytes;
  }

  /** Copies `bytes` in; the caller has checked the size. */
  write(bytes: Uint8Array): void {
    this.view(bytes.byteLength).set(bytes);
  }

  /** Sets `length` bytes to zero. */
  clear(length: number): void {
    this.view(length).fill(0);
  }

  /** `length` bytes without a copy; valid until the value is disposed of. */
  view(length: number): Uint8Array<ArrayBuffer> {
    if (length === 0) return new Uint8Array(0);
    return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(this.data!, length));
  }

  protected override release(): void {
    this.ort.api.ReleaseValue(this.#handle);
    this.#backing = undefined;
  }
}
