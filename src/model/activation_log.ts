/** Activations of many runs, written to a file in order and read again in that order. */
import { StorageError } from "../errors.ts";
import type { DataType } from "../graph/dtype.ts";
import { byteLength } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { Scratch } from "../quant/scratch.ts";
import type { ValueType } from "../graph/types.ts";
import type { DeviceTensor } from "../runtime/runner.ts";

interface Entry {
  readonly dtype: DataType;
  readonly dims: readonly number[];
}

/**
 * One file of tensors, which are kept nowhere else: a pass of 16,384 tokens leaves tens of megabytes.
 * The file is the caller's to remove.
 */
export class ActivationLog {
  readonly #path: string;
  readonly #entries: Entry[] = [];
  readonly #scratch = new Scratch();

  /** @param path file to write, over one that is there */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Types of the tensors that each run wrote, `count` of them; a dimension that is not the same in
   * all runs has a name.
   */
  types(count: number): readonly ValueType[] {
    return Array.from({ length: count }, (_, slot) => {
      const all = this.#entries.filter((_, i) => i % count === slot);
      const [{ dtype, dims }] = all;
      const shape = dims.map((dim, axis) =>
        all.every((entry) => entry.dims[axis] === dim) ? dim : `kept.${slot}.${axis}`
      );
      return { dtype, shape };
    });
  }

  /** Begins the file. Dispose of the writer before reading. */
  write(): Disposable & { append(value: DeviceTensor): void } {
    const file = this.#attempt(() =>
      Deno.openSync(this.#path, { write: true, create: true, truncate: true })
    );
    return {
      append: (value) => {
        const { dtype, dims } = value;
        const length = byteLength(dtype, elementCount(dims));
        const { bytes } = value.read(this.#scratch.uint8("write", length));
        this.#attempt(() => {
          for (let done = 0; done < length;) done += file.writeSync(bytes.subarray(done));
        });
        this.#entries.push({ dtype, dims });
      },
      [Symbol.dispose]: () => file.close(),
    };
  }

  /** Reads from the beginning. A tensor's bytes are good until its `slot` is read into again. */
  read(): Disposable & { next(slot: string): Tensor } {
    const file = this.#attempt(() => Deno.openSync(this.#path));
    let at = 0;
    return {
      next: (slot) => {
        const { dtype, dims } = this.#entries[at++];
        const bytes = this.#scratch.uint8(slot, byteLength(dtype, elementCount(dims)));
        this.#attempt(() => {
          for (let done = 0; done < bytes.length;) {
            const read = file.readSync(bytes.subarray(done));
            if (read === null) throw new Error("it ends too early");
            done += read;
          }
        });
        return { dtype, dims, bytes };
      },
      [Symbol.dispose]: () => file.close(),
    };
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw new StorageError(
        `Cannot keep activations in ${this.#path}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}
