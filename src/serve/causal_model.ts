/**
 * A language model that goes on from where it is: keys and values of earlier tokens stay with the
 * runtime. A model exported without a cache reads its whole text again for every token.
 */
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { bindInputs, isCache } from "../plan/inputs.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";

/** A cache input and the output that holds its next value. */
interface CachePair {
  readonly past: string;
  readonly present: string;
}

export class CausalModel implements Disposable {
  readonly #runner: Runner;
  readonly #executable: Executable;
  readonly #graph: Graph;
  readonly #pairs: readonly CachePair[];
  readonly #cache = new Map<string, DeviceTensor>();
  #tokens: number[] = [];

  /**
   * @param executable the model's graph; stays the caller's
   * @param graph the same graph, for its inputs and outputs
   * @throws {BadInputError} where the model has no logits or a cache that graft cannot pair
   */
  constructor(runner: Runner, executable: Executable, graph: Graph) {
    this.#runner = runner;
    this.#executable = executable;
    this.#graph = graph;
    if (!graph.outputs.some(({ name }) => name === "logits")) {
      throw new BadInputError(
        `Cannot generate: the model has no output "logits": its outputs are ${
          graph.outputs.map(({ name }) => name).join(", ")
        }`,
      );
    }
    this.#pairs = pairCaches(graph);
  }

  /** Number of tokens read so far. */
  get length(): number {
    return this.#tokens.length;
  }

  /** Forgets everything read. */
  reset(): void {
    for (const held of this.#cache.values()) held[Symbol.dispose]();
    this.#cache.clear();
    this.#tokens = [];
  }

  /**
   * Reads more tokens.
   *
   * @returns logits after the last of them, [vocabulary]
   */
  async advance(ids: readonly number[]): Promise<Float32Array> {
    if (ids.length === 0) throw new RangeError("There must be a token to read");
    this.#tokens.push(...ids);
    const cached = this.#pairs.length > 0;
    const fresh = cached ? ids : this.#tokens;
    const feeds = this.#feeds(fresh);
    try {
      const results = await this.#executable.run(feeds, [
        "logits",
        ...this.#pairs.map(({ present }) => present),
      ]);
      for (const { past, present } of this.#pairs) {
        this.#cache.get(past)?.[Symbol.dispose]();
        this.#cache.set(past, results[present]);
      }
      using logits = results.logits;
      return lastRow(logits.read());
    } finally {
      for (const [name, feed] of Object.entries(feeds)) {
        if (this.#cache.get(name) !== feed) feed[Symbol.dispose]();
      }
    }
  }

  [Symbol.dispose](): void {
    this.reset();
  }

  #feeds(fresh: readonly number[]): Record<string, DeviceTensor> {
    const total = this.#tokens.length;
    const start = total - fresh.length;
    const feeds: Record<string, DeviceTensor> = {};
    for (
      const [name, { dtype, dims }] of bindInputs(this.#graph, { batch: 1, length: fresh.length })
    ) {
      const held = this.#cache.get(name);
      if (held !== undefined) feeds[name] = held;
      else if (isCache(name)) {
        feeds[name] = this.#runner.upload({ dtype, dims, bytes: new Uint8Array(0) });
      } else feeds[name] = this.#runner.upload(tokenInput(name, fresh, start, total));
    }
    return feeds;
  }
}

function tokenInput(name: string, fresh: readonly number[], start: number, total: number): Tensor {
  switch (name) {
    case "input_ids":
      return int64([1, fresh.length], fresh);
    case "attention_mask":
      return int64([1, total], new Uint8Array(total).fill(1));
    case "position_ids":
      return int64([1, fresh.length], fresh.map((_, i) => start + i));
    case "token_type_ids":
      return int64([1, fresh.length], new Uint8Array(fresh.length));
    default:
      throw new BadInputError(
        `Cannot generate: the model has an input "${name}" that graft does not know`,
      );
  }
}

/** The last position's logits of [1, length, vocabulary]. */
function lastRow(logits: Tensor): Float32Array {
  const vocabulary = logits.dims[logits.dims.length - 1];
  const values = toNumbers(logits);
  const last = new Float32Array(vocabulary);
  for (let i = 0; i < vocabulary; i++) last[i] = values[values.length - vocabulary + i];
  return last;
}

/** `past_key_values.N.key` goes with `present.N.key`, as exporters name them, else by the attention node. */
function pairCaches(graph: Graph): CachePair[] {
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  return graph.inputs.filter(({ name }) => isCache(name)).map(({ name }) => {
    const renamed = [
      name.replace(/^past_key_values?/, "present"),
      name.replace(/^past_key_values?/, "present_key_values"),
      name.replace(/^past/, "present"),
    ].find((candidate) => candidate !== name && outputs.has(candidate));
    const present = renamed ?? presentOf(graph, name);
    if (present !== undefined && outputs.has(present)) return { past: name, present };
    throw new BadInputError(
      `Cannot generate: no output of the model continues its cache input "${name}"`,
    );
  });
}

/** The output of the node that reads a cache and writes its successor. */
function presentOf(graph: Graph, past: string): string | undefined {
  const reader = graph.nodes.find((node) => node.inputs.includes(past));
  if (reader?.opType !== "GroupQueryAttention") return undefined;
  // Its inputs 3 and 4 are the past key and value, its outputs 1 and 2 the present ones.
  return reader.outputs[reader.inputs.indexOf(past) - 2];
}
