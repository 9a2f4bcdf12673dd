/**
 * Wrapped tensors by the memory that they view: plans share the weights of one model, the calls of a plan
 * share the shapes that they reshape to.
 */
import type { Tensor } from "../graph/tensor.ts";
import type { DeviceTensor } from "../runtime/runner.ts";

export class TensorCache {
  readonly #buffers = new Map<ArrayBufferLike, Map<string, DeviceTensor>>();

  get(value: Tensor, wrap: () => DeviceTensor): DeviceTensor {
    const { buffer, byteOffset } = value.bytes;
    let entries = this.#buffers.get(buffer);
    if (entries === undefined) this.#buffers.set(buffer, entries = new Map());
    const key = `${byteOffset}:${value.dtype}[${value.dims}]`;
    let found = entries.get(key);
    if (found === undefined) entries.set(key, found = wrap());
    return found;
  }

  /** Disposes of all other tensors. */
  retain(kept: ReadonlySet<DeviceTensor>): void {
    for (const [buffer, entries] of this.#buffers) {
      for (const [key, tensor] of entries) {
        if (kept.has(tensor)) continue;
        entries.delete(key);
        tensor[Symbol.dispose]();
      }
      if (entries.size === 0) this.#buffers.delete(buffer);
    }
  }
}
