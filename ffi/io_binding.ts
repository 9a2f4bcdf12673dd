/** `OrtIoBinding`: inputs and outputs fixed to values, for runs that touch nothing else. */
import type { Ort } from "./api.ts";
import { cString, type Handle } from "./pointer.ts";
import { unwrap } from "./status.ts";
import type { OrtValue } from "./value.ts";

/** Owns one `OrtIoBinding` and keeps the values that it binds alive. */
export class IoBinding implements Disposable {
  readonly #ort: Ort;
  readonly #handle: Handle;
  readonly #values = new Map<string, OrtValue>();
  #pins = 0;
  #disposed = false;

  /** @param handle taken over */
  constructor(ort: Ort, handle: Handle) {
    this.#ort = ort;
    this.#handle = handle;
  }

  /** The handle; throws a `ReferenceError` after disposal. */
  get handle(): Handle {
    if (this.#disposed) throw new ReferenceError("The binding was used after it was disposed of");
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

  /** Keeps the binding alive until {@linkcode unpin}. */
  pin(): void {
    this.#pins++;
  }

  unpin(): void {
    if (--this.#pins === 0 && this.#disposed) this.#release();
  }

  /** Releases the binding, now or when its last run ends. Further calls do nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#pins === 0) this.#release();
  }

  #keep(key: string, value: OrtValue): void {
    value.pin();
    this.#values.get(key)?.unpin();
    this.#values.set(key, value);
  }

  #release(): void {
    this.#ort.api.ReleaseIoBinding(this.#handle);
    for (const value of this.#values.values()) value.unpin();
    this.#values.clear();
  }
}
