/** `OrtRunOptions`: settings of a run. */
import type { Ort } from "./api.ts";
import { create } from "./status.ts";
import { Pinned } from "./pinned.ts";
import { cString, type Handle } from "./pointer.ts";
import { unwrap } from "./status.ts";

/** Owns one `OrtRunOptions`. */
export class RunConfiguration extends Pinned {
  readonly #ort: Ort;
  readonly #handle: Handle;

  /** @param entries under ORT's own key names (`onnxruntime_run_options_config_keys.h`) */
  constructor(ort: Ort, entries: Readonly<Record<string, string>>) {
    super("run configuration");
    this.#ort = ort;
    const { api } = ort;
    this.#handle = create(api, (out) => api.CreateRunOptions(out));
    try {
      for (const [key, value] of Object.entries(entries)) {
        unwrap(api, api.AddRunConfigEntry(this.#handle, cString(key), cString(value)));
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The handle; throws a `ReferenceError` after disposal. */
  get handle(): Handle {
    this.alive();
    return this.#handle;
  }

  protected override release(): void {
    this.#ort.api.ReleaseRunOptions(this.#handle);
  }
}
