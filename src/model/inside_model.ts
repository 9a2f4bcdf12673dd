/** Where in a model file the contents of initializers go that are still to be computed. */
import { byteLength } from "../graph/dtype.ts";
import { isPending, withTensors } from "../graph/pending.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";

/**
 * A model file that is encoded before its weights are known: the file has the same size and the same
 * places whatever they are. Large ones can be written there as they come; small ones, which the
 * encoder copies, are held.
 */
export class InsideModel {
  readonly #model: Model;
  readonly #encode: (model: Model) => readonly Uint8Array[];
  /** Stand-ins for large tensors, to be told apart among the encoder's chunks. */
  readonly #holes = new Map<string, Tensor>();
  readonly #held = new Map<string, Tensor>();
  readonly #offsets = new Map<string, number>();

  /**
   * @param elsewhere pending tensors that go to data files
   * @param encode gives the file's chunks; large tensors are chunks of their own, uncopied
   */
  constructor(
    model: Model,
    elsewhere: ReadonlyMap<Tensor, unknown>,
    encode: (model: Model) => readonly Uint8Array[],
  ) {
    this.#model = model;
    this.#encode = encode;
    const pending = [...model.graph.initializers].filter(([, tensor]) =>
      isPending(tensor) && !elsewhere.has(tensor)
    );
    const sizes = pending.map(([, { dtype, dims }]) => byteLength(dtype, elementCount(dims)));
    // One memory for all, never touched: it stays the system's page of zeros.
    const zeros = new Uint8Array(Math.max(0, ...sizes));
    pending.forEach(([name, { dtype, dims }], i) => {
      this.#holes.set(name, { dtype, dims, bytes: zeros.subarray(0, sizes[i]) });
    });
    const names = new Map([...this.#holes].map(([name, { bytes }]) => [bytes, name]));
    for (const [offset, chunk] of placed(encode(withTensors(model, this.#holes)))) {
      const name = names.get(chunk);
      if (name !== undefined) this.#offsets.set(name, offset);
    }
    for (const [name, { dtype, dims, bytes }] of this.#holes) {
      if (this.#offsets.has(name)) continue;
      this.#holes.delete(name);
      this.#held.set(name, { dtype, dims, bytes: bytes.slice() });
    }
  }

  /** Where in the file a pending initializer begins; `undefined` for one to {@linkcode hold}. */
  offsetOf(name: string): number | undefined {
    return this.#offsets.get(name);
  }

  /** Keeps bytes of a small initializer until {@linkcode rest}. */
  hold(name: string, bytes: Uint8Array, offset: number): void {
    this.#held.get(name)!.bytes.set(bytes, offset);
  }

  /** The file but for the large initializers, in ranges with their offsets. */
  *rest(): Generator<readonly [offset: number, chunk: Uint8Array]> {
    const holes = new Set([...this.#holes.values()].map(({ bytes }) => bytes));
    const model = withTensors(this.#model, new Map([...this.#holes, ...this.#held]));
    for (const [offset, chunk] of placed(this.#encode(model))) {
      if (!holes.has(chunk)) yield [offset, chunk];
    }
  }
}

function* placed(
  chunks: readonly Uint8Array[],
): Generator<readonly [offset: number, chunk: Uint8Array]> {
  let offset = 0;
  for (const chunk of chunks) {
    yield [offset, chunk];
    offset += chunk.byteLength;
  }
}
