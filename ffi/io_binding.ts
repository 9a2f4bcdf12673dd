/** `OrtIoBinding`: inputs and outputs bound to values, for repeated runs. */
import { Pinned } from "./pinned.ts";
import type { Ort } from "./api.ts";
import { cString, type Handle, Out } from "./pointer.ts";
import { unwrap } from "./status.ts";
import { OrtValue } from "./value.ts";

/** Owns one `OrtIoBinding` and keeps its bound values alive. */
export class IoBinding extends Pinned {
  readonly #ort: Ort;
  readonly #handle: Handle;
  readonly #hostMemory: Handle;
  readonly #values = new Map<string, OrtValue>();

  /**
   * @param handle this object takes ownership
   * @param hostMemory `OrtMemoryInfo` of host memory
   */
  constructor(ort: Ort, handle: Handle, hostMemory: Handle) {
    super("binding");
    this.#hostMemory = hostMemory;
    this.#ort = ort;
    this.#handle = handle;
  }

  /** The handle; throws a `ReferenceError` after disposal. */
  get handle(): Handle {
    this.alive();
    return this.#handle;
  }

  /** Binds `value` to the input `name`; replaces an earlier binding. */
  input(name: string, value: OrtValue): void {
    const { api } = this.#ort;
    unwrap(api, api.BindInput(this.handle, cString(name), value.handle));
    this.#keep(`input ${name}`, value);
  }

  /** Binds the output `name` to `value`; replaces an earlier binding. */
  output(name: string, value: OrtValue): void {
    const { api } = this.#ort;
    unwrap(api, api.BindOutput(this.handle, cString(name), value.handle));
    this.#keep(`output ${name}`, value);
  }

  /** Lets the runtime allocate the output `name` in the memory that `memory` describes. */
  outputTo(name: string, memory: Handle): void {
    const { api } = this.#ort;
    unwrap(api, api.BindOutputToDevice(this.handle, cString(name), memory));
  }

  /** Lets the runtime allocate the output `name` in host memory. */
  outputToHost(name: string): void {
    this.outputTo(name, this.#hostMemory);
  }

  /** The outputs' values after a run, in the order in which they were bound; the caller owns them. */
  outputs(): OrtValue[] {
    const { api, allocator } = this.#ort;
    const list = new Out();
    const count = new Out();
    unwrap(api, api.GetBoundOutputValues(this.handle, allocator, list.cell, count.cell));
    if (list.pointer === null) return [];
    const view = new Deno.UnsafePointerView(list.handle);
    const values = Array.from(
      { length: count.number },
      (_, i) => OrtValue.adopt(this.#ort, view.getBigUint64(8 * i)),
    );
    unwrap(api, api.AllocatorFree(allocator, list.pointer));
    return values;
  }

  /** Waits until bound inputs have reached the device. Nothing to wait for on the CPU. */
  synchronizeInputs(): void {
    unwrap(this.#ort.api, this.#ort.api.SynchronizeBoundInputs(this.handle));
  }

  /** Waits until outputs have left the device. Nothing to wait for on the CPU. */
  synchronizeOutputs(): void {
    unwrap(this.#ort.api, this.#ort.api.SynchronizeBoundOutputs(this.handle));
  }

  #keep(key: string, value: OrtValue): void {
    value.pin();
    this.#values.get(key)?.unpin();
    this.#values.set(key, value);
  }

  protected override release(): void {
    this.#ort.api.ReleaseIoBinding(this.#handle);
    for (const value of this.#values.values()) value.unpin();
    this.#values.clear();
  }
}
