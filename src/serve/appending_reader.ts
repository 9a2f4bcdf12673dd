/**
 * Runs a model whose runs return longer caches than they receive, or that has none: the runtime
 * allocates new caches for every run.
 */
import { BadInputError } from "../errors.ts";
import type { DataType } from "../graph/dtype.ts";
import { int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import { bindInputs, isCache } from "../plan/inputs.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import type { DeviceTensor } from "../runtime/runner.ts";
import type { Reader, ReaderParts } from "./reader.ts";
import { tokenInput } from "./token_inputs.ts";
import { emptyRecord } from "../records.ts";

export class AppendingReader implements Reader {
  readonly #parts: ReaderParts;
  readonly #cache = new Map<string, DeviceTensor>();

  constructor(parts: ReaderParts) {
    this.#parts = parts;
  }

  async read(fresh: readonly number[], start: number): Promise<Float32Array> {
    const { executable, pairs } = this.#parts;
    const feeds = this.#tokenFeeds(fresh, start);
    try {
      const results = await executable.run(
        { ...feeds, ...Object.fromEntries(this.#cache) },
        ["logits", ...pairs.map(({ present }) => present)],
      );
      for (const { past, present } of pairs) {
        this.#cache.get(past)?.[Symbol.dispose]();
        this.#cache.set(past, results[present]);
      }
      using logits = results.logits;
      return lastRow(logits.read());
    } finally {
      for (const feed of Object.values(feeds)) feed[Symbol.dispose]();
    }
  }

  reset(): void {
    for (const held of this.#cache.values()) held[Symbol.dispose]();
    this.#cache.clear();
  }

  [Symbol.dispose](): void {
    this.reset();
  }

  /** All inputs except the caches. */
  #tokenFeeds(fresh: readonly number[], start: number): Record<string, DeviceTensor> {
    const { graph, runner } = this.#parts;
    const feeds = emptyRecord<DeviceTensor>();
    const inputs = graph.inputs.filter(({ name }) => name !== TARGET_ROWS);
    const bound = bindInputs({ ...graph, inputs }, { batch: 1, length: fresh.length });
    for (const [name, { dtype, dims }] of bound) {
      if (this.#cache.has(name)) continue;
      const value = isCache(name)
        ? emptyCache(name, dtype, dims)
        : tokenInput(name, fresh, start, dtype);
      feeds[name] = runner.upload(value);
    }
    if (inputs.length < graph.inputs.length) {
      feeds[TARGET_ROWS] = runner.upload(int64([1], [fresh.length - 1]));
    }
    return feeds;
  }
}

/** @throws {BadInputError} for a cache that cannot be empty before the first token */
function emptyCache(name: string, dtype: DataType, dims: readonly number[]): Tensor {
  if (dims.includes(0)) return { dtype, dims, bytes: new Uint8Array(0) };
  throw new BadInputError(
    `Cannot generate: the model's cache input "${name}" [${dims}] has a fixed length: export the ` +
      "model with a past length that is left open",
  );
}

/** The last position's logits of [1, length, vocabulary] or [1, vocabulary]. */
function lastRow(logits: Tensor): Float32Array {
  const vocabulary = logits.dims[logits.dims.length - 1];
  const values = toNumbers(logits);
  const last = new Float32Array(vocabulary);
  for (let i = 0; i < vocabulary; i++) last[i] = values[values.length - vocabulary + i];
  return last;
}
