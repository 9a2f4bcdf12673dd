/**
 * Runs a model whose attention appends keys and values to one buffer per cache. Inputs and outputs are
 * bound once: a token costs only its kernels, without copies. On a device with its own memory the caches
 * stay there, and only a token and a row of logits are copied.
 */
import { bitsOf, byteLength, type DataType } from "../graph/dtype.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { bindInputs, type BoundInput, isCache } from "../plan/inputs.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import type { BoundRun, DeviceTensor } from "../runtime/runner.ts";
import { type CachePair, cachesShareBuffers } from "./cache_pairs.ts";
import { FED, FedInputs } from "./fed_inputs.ts";
import { longestPaddedMask } from "./padded_mask.ts";
import type { Reader, ReaderParts } from "./reader.ts";
import { RunClock } from "../runtime/run_clock.ts";
import { emptyRecord } from "../records.ts";

/** Tokens that buffers have room for beyond the requested ones, at least; or half as many as requested. */
const ROOM = 128;

/** Most elements of a cache per token; larger caches are read by the other reader. */
const MOST_PER_TOKEN = 1 << 16;

/** Heads times head size of a cache; NaN where they are unknown. */
function tokenSize(graph: Graph, name: string): number {
  const inputs = graph.inputs.filter((input) => input.name === name);
  const [, heads, , size] = bindInputs({ ...graph, inputs }, { batch: 1, length: 1 }).get(name)!
    .dims;
  return Number.isInteger(heads) && Number.isInteger(size) ? heads * size : NaN;
}

export class InPlaceReader implements Reader {
  readonly #parts: ReaderParts;
  readonly #logits: Float32Array<ArrayBuffer>;
  readonly #inputs: FedInputs;
  /** Most columns of a padded mask. */
  readonly #longestPadded: number;
  /** Types of the caches, their length 0. */
  readonly #types: ReadonlyMap<string, BoundInput>;
  /** Buffers of the caches: [1, heads, capacity, head size]. */
  readonly #caches = new Map<string, DeviceTensor>();
  readonly #clock = new RunClock();
  #capacity = 0;
  #bound: BoundRun | undefined;

  /** Whether a model can be run in this way. */
  static fits({ runner, graph, pairs }: Omit<ReaderParts, "executable">): boolean {
    const vocabulary = logitsOfPosition(graph);
    return (runner.inPlace || runner.onDevice) && vocabulary !== undefined &&
      cachesShareBuffers(graph, pairs) &&
      graph.inputs.some(({ name }) => name === TARGET_ROWS) &&
      graph.inputs.every(({ name, type }) =>
        isCache(name)
          ? type?.shape?.length === 4 && typeof type.shape[2] === "string" &&
            bitsOf(type.dtype) >= 8 && tokenSize(graph, name) <= MOST_PER_TOKEN
          : FED.get(name) === type?.dtype
      );
  }

  /** @param parts accepted by {@linkcode InPlaceReader.fits} */
  constructor(parts: ReaderParts) {
    const { graph, pairs } = parts;
    this.#parts = parts;
    this.#logits = new Float32Array(logitsOfPosition(graph) ?? 0);
    this.#inputs = new FedInputs(parts.runner, fedNames(graph));
    this.#longestPadded = longestPaddedMask(graph);
    this.#types = cacheTypes(graph, pairs);
  }

  async read(fresh: readonly number[], start: number): Promise<Float32Array> {
    const total = start + fresh.length;
    this.reserve(total, start);
    const changed = this.#inputs.write([{ fresh, start }], this.#maskLength(fresh.length, total));
    const { tensors } = this.#inputs;
    let bound = this.#bound;
    if (bound === undefined) this.#bound = bound = this.#bind(tensors);
    else for (const name of changed) bound.feed(name, tensors.get(name)!);
    await this.#clock.time(fresh.length, (brief) => bound.run({ brief }));
    return this.#logits;
  }

  /** Keeps the buffers for the next text: the rest of a longer one in them is not read. */
  reset(): void {}

  [Symbol.dispose](): void {
    this.#unbind();
    this.#inputs[Symbol.dispose]();
    for (const cache of this.#caches.values()) cache[Symbol.dispose]();
    this.#caches.clear();
    this.#capacity = 0;
  }

  #unbind(): void {
    this.#bound?.[Symbol.dispose]();
    this.#bound = undefined;
  }

  /** Number of logits of a position. */
  get vocabulary(): number {
    return this.#logits.length;
  }

  /** Tokens that the caches have room for. */
  get capacity(): number {
    return this.#capacity;
  }

  /** The caches, each as input and output, until they have to grow. */
  caches(): Record<"feeds" | "outputs", Record<string, DeviceTensor>> {
    const feeds = emptyRecord<DeviceTensor>();
    const outputs = emptyRecord<DeviceTensor>();
    for (const { past, present } of this.#parts.pairs) {
      const cache = this.#caches.get(past)!;
      feeds[past] = cache;
      outputs[present] = cache;
    }
    return { feeds, outputs };
  }

  /** Makes room for `total` tokens, keeping the first `kept`. */
  reserve(total: number, kept: number): void {
    if (total <= this.#capacity) return;
    this.#unbind();
    const capacity = total + Math.max(ROOM, total >> 1);
    for (const [name, { dtype, dims: [, heads, , size] }] of this.#types) {
      const dims = [1, heads, capacity, size];
      const old = this.#caches.get(name);
      const filled = kept > 0 ? old?.view().bytes : undefined;
      this.#caches.set(
        name,
        filled === undefined
          ? this.#parts.runner.allocate(dtype, dims)
          : this.#grown(dtype, dims, filled, kept),
      );
      old?.[Symbol.dispose]();
    }
    this.#capacity = capacity;
  }

  /** A cache with the first `kept` tokens of a smaller one. */
  #grown(
    dtype: DataType,
    dims: readonly number[],
    smaller: Uint8Array,
    kept: number,
  ): DeviceTensor {
    const [, heads, capacity, size] = dims;
    const bytesPerToken = byteLength(dtype, size);
    const bytes = new Uint8Array(byteLength(dtype, elementCount(dims)));
    for (let head = 0; head < heads; head++) {
      const from = head * this.#capacity * bytesPerToken;
      const tokens = smaller.subarray(from, from + kept * bytesPerToken);
      bytes.set(tokens, head * capacity * bytesPerToken);
    }
    return this.#parts.runner.upload({ dtype, dims, bytes });
  }

  /** Binds the caches, each as past and present, and the logits. */
  #bind(fed: ReadonlyMap<string, DeviceTensor>): BoundRun {
    const { runner, executable } = this.#parts;
    // The binding keeps references to its tensors.
    using handles = new DisposableStack();
    const { feeds, outputs } = this.caches();
    const dims = [1, this.#logits.length];
    const bytes = new Uint8Array(this.#logits.buffer);
    const logits = handles.use(runner.share({ dtype: "float32", dims, bytes }));
    return executable.bind({ ...feeds, ...Object.fromEntries(fed) }, { ...outputs, logits });
  }

  /**
   * Columns of the mask. The mask of a single token is padded to the caches' capacity if possible: all
   * shapes then stay the same from token to token, and so does the runtime's memory plan. This is known
   * to work for the CPU's kernels; on a device the mask is not padded.
   */
  #maskLength(fresh: number, total: number): number {
    if (fresh > 1 || this.#parts.runner.onDevice) return total;
    return Math.max(total, Math.min(this.#capacity, this.#longestPadded));
  }
}

/** Names of the token inputs. */
export function fedNames({ inputs }: Graph): readonly string[] {
  return inputs.map(({ name }) => name).filter((name) => !isCache(name));
}

/** Types of the caches before the first token. */
export function cacheTypes(graph: Graph, pairs: readonly CachePair[]): Map<string, BoundInput> {
  const inputs = graph.inputs.filter(({ name }) => isCache(name) || name === "input_ids");
  const types = bindInputs({ ...graph, inputs }, { batch: 1, length: 1 });
  return new Map(pairs.map(({ past }) => [past, types.get(past)!]));
}

/** Number of logits of a position, if the graph declares it and they are float32. */
export function logitsOfPosition(graph: Graph): number | undefined {
  const type = graph.outputs.find(({ name }) => name === "logits")?.type;
  const vocabulary = type?.dtype === "float32" ? type.shape?.at(-1) : undefined;
  return typeof vocabulary === "number" ? vocabulary : undefined;
}
