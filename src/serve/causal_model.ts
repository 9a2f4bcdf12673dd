/**
 * A language model that goes on from where it is: keys and values of earlier tokens stay with the
 * runtime. A model exported without a cache reads its whole text again for every token.
 */
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { bindInputs, isCache } from "../plan/inputs.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";

/** Tokens of a prompt that are read at once: activations grow with them. */
const PROMPT_CHUNK = 512;

/** Since this minor release GroupQueryAttention takes several tokens after a past. */
const SEVERAL_AFTER_PAST_SINCE = 20;

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
   * @param executable the model's graph, best by `withChosenLogits`; stays the caller's
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
   * Reads a whole text, going on from what has been read where the text begins with it.
   *
   * @returns logits after the last token, [vocabulary]
   */
  continueTo(ids: readonly number[]): Promise<Float32Array> {
    const known = this.#tokens.length;
    const goesOn = known < ids.length && this.#tokens.every((token, i) => token === ids[i]);
    if (!goesOn) this.reset();
    return this.advance(goesOn ? ids.slice(known) : ids);
  }

  /**
   * Reads more tokens.
   *
   * @returns logits after the last of them, [vocabulary]
   * @throws {RangeError} for no tokens
   */
  async advance(ids: readonly number[]): Promise<Float32Array> {
    if (ids.length === 0) throw new RangeError("There must be a token to read");
    try {
      if (this.#pairs.length === 0) return await this.#read([...this.#tokens, ...ids], []);
      let logits: Float32Array = new Float32Array();
      for (let at = 0; at < ids.length;) {
        const size = this.#chunkSize();
        logits = await this.#read(ids.slice(at, at + size), this.#tokens);
        at += size;
      }
      return logits;
    } catch (error) {
      // What the cache holds is not known to belong together any more.
      this.reset();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.reset();
  }

  /** Tokens the model can read in one run now. */
  #chunkSize(): number {
    const [major, minor] = this.#runner.version;
    const old = major === 1 && minor < SEVERAL_AFTER_PAST_SINCE;
    return old && this.#tokens.length > 0 ? 1 : PROMPT_CHUNK;
  }

  /** One run over tokens that follow others. */
  async #read(fresh: readonly number[], before: readonly number[]): Promise<Float32Array> {
    const feeds = this.#tokenFeeds(fresh, before.length);
    try {
      const results = await this.#executable.run(
        { ...feeds, ...Object.fromEntries(this.#cache) },
        ["logits", ...this.#pairs.map(({ present }) => present)],
      );
      for (const { past, present } of this.#pairs) {
        this.#cache.get(past)?.[Symbol.dispose]();
        this.#cache.set(past, results[present]);
      }
      this.#tokens = [...before, ...fresh];
      using logits = results.logits;
      return lastRow(logits.read());
    } finally {
      for (const feed of Object.values(feeds)) feed[Symbol.dispose]();
    }
  }

  /** All inputs but the caches that are held. */
  #tokenFeeds(fresh: readonly number[], start: number): Record<string, DeviceTensor> {
    const feeds: Record<string, DeviceTensor> = {};
    const inputs = this.#graph.inputs.filter(({ name }) => name !== TARGET_ROWS);
    const graph = { ...this.#graph, inputs };
    for (const [name, { dtype, dims }] of bindInputs(graph, { batch: 1, length: fresh.length })) {
      if (this.#cache.has(name)) continue;
      const value = isCache(name)
        ? { dtype, dims, bytes: new Uint8Array(0) }
        : tokenInput(name, fresh, start);
      feeds[name] = this.#runner.upload(value);
    }
    if (inputs.length < this.#graph.inputs.length) {
      feeds[TARGET_ROWS] = this.#runner.upload(int64([1], [fresh.length - 1]));
    }
    return feeds;
  }
}

function tokenInput(name: string, fresh: readonly number[], start: number): Tensor {
  const total = start + fresh.length;
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

/** The last position's logits of [1, length, vocabulary] or [1, vocabulary]. */
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
