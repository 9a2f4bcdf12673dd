/** `OrtIoBinding`: inputs and outputs fixed to values, for runs that touch nothing else. */
import { Pinned } from "./pinned.ts";
import type { Ort } from "./api.ts";
import { cString, type Handle } from "./pointer.ts";
import { unwrap } from "./status.ts";
import type { OrtValue } from "./value.ts";

/** Owns one `OrtIoBinding` and keeps the values that it binds alive. */
export class IoBinding extends Pinned {
  readonly #ort: Ort;
  readonly #handle: Handle;
  readonly #values = new Map<string, OrtValue>();

  /** @param handle taken over */
  constructor(ort: Ort, handle: Handle) {
    super("binding");
    this.#ort = ort;
    this.#handle = handle;
  }

  /** The handle; throws a `ReferenceError` after disposal. */
  get handle(): Handle {
    this.alive();
    return this.#handle;
  }

  /** Feeds `value` to the input `name`; replaces what was bound. */
  input(name: string, value: OrtValue): void {
    const { api } = this.#ort;
    unwrap(api, api.BindInput(this.handle, cString(name), value.handle));
    this.#keep(`input ${name}`, value);
  }

  /** Lets the output `name` be written into `value`; replaces what was bound. */
  output(name: string, value: OrtValue): void {
    const { api } = this.#ort;
    unwrap(api, api.BindOutput(this.handle, cString(name), value.handle));
    this.#keep(`output ${name}`, value);
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
