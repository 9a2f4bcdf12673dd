/** Feeds the adapters of a run's texts to a graph whose adapters are inputs. */
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { BoundRun, DeviceTensor, Runner } from "../runtime/runner.ts";

/** An adapter: the value of each input, [1, rows, columns], float32; one dimension is its rank. */
export type AdapterMatrices = ReadonlyMap<string, Tensor>;

/** What a graph with adapters as inputs needs. */
export interface AdapterInputs {
  /** Fed where a text has no adapter. */
  readonly none: AdapterMatrices;
}

/** The adapters of one bound run. */
export class FedAdapters implements Disposable {
  readonly #runner: Runner;
  readonly #inputs: AdapterInputs;
  #fed: readonly (AdapterMatrices | undefined)[] = [];
  #tensors = new Map<string, DeviceTensor>();

  constructor(runner: Runner, inputs: AdapterInputs) {
    this.#runner = runner;
    this.#inputs = inputs;
  }

  /** Every input's tensor, as last written. */
  get tensors(): ReadonlyMap<string, DeviceTensor> {
    return this.#tensors;
  }

  /**
   * Changes the tensors to the adapters of these texts.
   *
   * @returns whether they changed
   */
  write(adapters: readonly (AdapterMatrices | undefined)[]): boolean {
    const same = adapters.length === this.#fed.length &&
      adapters.every((adapter, i) => adapter === this.#fed[i]);
    if (same && this.#tensors.size > 0) return false;
    const before = this.#tensors;
    const { none } = this.#inputs;
    const all = adapters.map((adapter) => adapter ?? none);
    const one = new Set(all).size === 1;
    this.#tensors = new Map(
      Array.from(none.keys(), (name) => {
        const value = one ? all[0].get(name)! : stacked(all.map((adapter) => adapter.get(name)!));
        return [name, this.#runner.share(value)];
      }),
    );
    this.#fed = [...adapters];
    for (const tensor of before.values()) tensor[Symbol.dispose]();
    return true;
  }

  /** Feeds the tensors to a run. */
  feed(bound: BoundRun): void {
    for (const [name, tensor] of this.#tensors) bound.feed(name, tensor);
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#tensors.values()) tensor[Symbol.dispose]();
    this.#tensors.clear();
  }
}

/** Matrices of several texts, [texts, rows, columns], zeros where one has fewer. */
function stacked(matrices: readonly Tensor[]): Tensor {
  const rows = Math.max(...matrices.map(({ dims }) => dims[1]));
  const columns = Math.max(...matrices.map(({ dims }) => dims[2]));
  const values = new Float32Array(matrices.length * rows * columns);
  matrices.forEach((matrix, text) => {
    const [, ownRows, ownColumns] = matrix.dims;
    const own = toNumbers(matrix) as Float32Array;
    for (let row = 0; row < ownRows; row++) {
      const at = (text * rows + row) * columns;
      values.set(own.subarray(row * ownColumns, (row + 1) * ownColumns), at);
    }
  });
  return float32([matrices.length, rows, columns], values);
}
