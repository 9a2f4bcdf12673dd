/**
 * Runs of an encoder over small batches. Each shape has memory that stays bound to its inputs and its
 * output: a run costs its kernels and one call into the runtime, for a single text a twentieth less than
 * with new tensors.
 */
import { type TokenBatch, tokenInput } from "../data/targets.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { TOKEN_INPUTS } from "../plan/inputs.ts";
import type { BoundRun, DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import { emptyRecord } from "../records.ts";

/** Largest batch: with more tokens the cost of the runtime's calls is negligible. */
const MOST_TOKENS = 256;
/** Largest declared width, because a file can declare any; other runs handle larger ones. */
const MOST_WIDTH = 1 << 16;
/** Number of shapes that stay bound, the most recently used ones. */
const MOST_SHAPES = 64;

/** Result of a run. */
export interface RunOutput {
  readonly values: Float32Array;
  readonly dims: readonly number[];
}

/** One shape's memory. */
interface Shaped {
  readonly inputs: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  readonly output: Float32Array<ArrayBuffer>;
  readonly dims: readonly number[];
  readonly bound: BoundRun;
  /** Whether a run is using it. */
  busy: boolean;
}

export class ShapedRuns implements Disposable {
  readonly #runner: Runner;
  readonly #executable: Executable;
  readonly #graph: Graph;
  /** Least recently used first. */
  readonly #shapes = new Map<string, Shaped>();
  readonly #takesTokens: boolean;

  /** @param executable the compiled graph; the caller owns it */
  constructor(runner: Runner, executable: Executable, graph: Graph) {
    this.#runner = runner;
    this.#executable = executable;
    this.#graph = graph;
    this.#takesTokens = runner.inPlace &&
      graph.inputs.every(({ name, type }) =>
        TOKEN_INPUTS.includes(name) && !graph.initializers.has(name) &&
        type?.dtype === "int64" && type.shape?.length === 2
      );
  }

  /**
   * Whether a run is possible here: the batch is small, the output is float32 with a row of declared
   * width per sequence, and no other run uses the shape's memory.
   */
  fits(batch: TokenBatch, output: string): boolean {
    return this.#takesTokens && elementCount(batch.inputIds.dims) <= MOST_TOKENS &&
      this.#width(output) !== undefined && !this.#shapes.get(keyOf(batch, output))?.busy;
  }

  /**
   * @param batch accepted by {@linkcode ShapedRuns.fits}
   * @param brief whether the run may block the event loop
   */
  async run(batch: TokenBatch, output: string, brief: boolean): Promise<RunOutput> {
    const shaped = this.#shaped(batch, output);
    for (const [name, bytes] of shaped.inputs) bytes.set(tokenInput(name, batch)!.bytes);
    shaped.busy = true;
    try {
      await shaped.bound.run({ brief });
      return { values: shaped.output.slice(), dims: shaped.dims };
    } finally {
      shaped.busy = false;
    }
  }

  [Symbol.dispose](): void {
    for (const { bound } of this.#shapes.values()) bound[Symbol.dispose]();
    this.#shapes.clear();
  }

  #width(output: string): number | undefined {
    const type = this.#graph.outputs.find(({ name }) => name === output)?.type;
    const width = type?.dtype === "float32" && type.shape?.length === 2 ? type.shape[1] : undefined;
    return typeof width === "number" && width <= MOST_WIDTH ? width : undefined;
  }

  /** The memory for a shape, which becomes the most recently used one. */
  #shaped(batch: TokenBatch, output: string): Shaped {
    const key = keyOf(batch, output);
    const shaped = this.#shapes.get(key) ?? this.#bind(batch, output);
    this.#shapes.delete(key);
    this.#shapes.set(key, shaped);
    for (const [old, { bound, busy }] of this.#shapes) {
      if (this.#shapes.size <= MOST_SHAPES) break;
      if (busy || old === key) continue;
      bound[Symbol.dispose]();
      this.#shapes.delete(old);
    }
    return shaped;
  }

  #bind(batch: TokenBatch, name: string): Shaped {
    const tokenDims = batch.inputIds.dims;
    // The binding keeps references to its tensors.
    using handles = new DisposableStack();
    const inputs = new Map<string, Uint8Array<ArrayBuffer>>();
    const feeds = emptyRecord<DeviceTensor>();
    for (const input of this.#graph.inputs) {
      const bytes = new Uint8Array(8 * elementCount(tokenDims));
      inputs.set(input.name, bytes);
      feeds[input.name] = handles.use(
        this.#runner.share({ dtype: "int64", dims: tokenDims, bytes }),
      );
    }
    const dims = [tokenDims[0], this.#width(name)!];
    const output = new Float32Array(elementCount(dims));
    const bytes = new Uint8Array(output.buffer);
    const held = handles.use(this.#runner.share({ dtype: "float32", dims, bytes }));
    const bound = this.#executable.bind(feeds, { [name]: held });
    return { inputs, output, dims, bound, busy: false };
  }
}

const keyOf = ({ inputIds }: TokenBatch, output: string) => `${output} ${inputIds.dims}`;
