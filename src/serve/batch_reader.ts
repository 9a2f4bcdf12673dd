/**
 * Reads tokens of several texts in one run, each with keys and values of its own: a run for one token of
 * each costs little more than for one text, because the weights are read once.
 */
import { isCache } from "../plan/inputs.ts";
import { emptyRecord } from "../records.ts";
import { RunClock } from "../runtime/run_clock.ts";
import type { BoundRun, DeviceTensor } from "../runtime/runner.ts";
import { CacheRows } from "./cache_rows.ts";
import { readsPromptByToken } from "./causal_model.ts";
import { type AdapterInputs, type AdapterMatrices, FedAdapters } from "./adapter_inputs.ts";
import { FedInputs, type FreshTokens } from "./fed_inputs.ts";
import { cacheTypes, fedNames, InPlaceReader, logitsOfPosition } from "./in_place_reader.ts";
import { longestPaddedMask } from "./padded_mask.ts";
import type { ReaderParts } from "./reader.ts";

/** Runs that take longer leave the event loop to other requests; shorter ones between its turns. */
const BRIEF_MS = 10;

/** What a run needs for neighbouring rows, bound once. */
interface Span extends Disposable {
  readonly inputs: FedInputs;
  readonly adapters?: FedAdapters;
  readonly bound: BoundRun;
  /** [rows, vocabulary] */
  readonly logits: Float32Array<ArrayBuffer>;
}

/** Tokens of a text that a run reads, with the text's adapter. */
export interface TextTokens extends FreshTokens {
  readonly adapter?: AdapterMatrices;
}

/** Runs over rows of texts; the interface that a schedule of requests uses. */
export interface RowReader extends Disposable {
  /** Number of texts. */
  readonly rows: number;
  /** Most tokens of a text. */
  readonly longest: number;
  /**
   * Makes room for `total` tokens a row.
   *
   * @param filled number of tokens of each row that are kept
   */
  reserve(total: number, filled: readonly number[]): void;
  /** Copies the first `tokens` tokens of a row to another one. */
  copy(from: number, to: number, tokens: number): void;
  /**
   * Reads fresh tokens of texts in neighbouring rows, each as many.
   *
   * @param first row of the first text; there must be room for all tokens
   * @returns logits after the last token of each, [vocabulary], valid until the next call
   */
  read(first: number, texts: readonly TextTokens[]): Promise<Float32Array[]>;
}

export class BatchReader implements RowReader {
  readonly #parts: ReaderParts;
  readonly #adapters: AdapterInputs | undefined;
  readonly #vocabulary: number;
  readonly #rows: CacheRows;
  readonly #spans = new Map<string, Span>();
  readonly #clock = new RunClock({ briefMs: BRIEF_MS, heldMs: BRIEF_MS });
  readonly longest: number;

  /**
   * Whether texts of a model can be read together: its caches are buffers on this host, and padding of
   * the mask changes nothing, so that texts of several lengths share a run.
   */
  static fits(parts: Omit<ReaderParts, "executable">): boolean {
    const { runner, graph } = parts;
    return runner.inPlace && !runner.onDevice && !readsPromptByToken(runner) &&
      InPlaceReader.fits(parts) &&
      longestPaddedMask(graph) > 0 &&
      graph.inputs.every(({ name, type }) =>
        !(isCache(name) || name === "input_ids") || typeof type?.shape?.[0] === "string"
      );
  }

  /**
   * @param parts accepted by {@linkcode BatchReader.fits}
   * @param rows number of texts
   * @param adapters if the executable's graph has adapters as inputs, besides those of `parts.graph`
   */
  constructor(parts: ReaderParts, rows: number, adapters?: AdapterInputs) {
    const { graph, pairs } = parts;
    this.#parts = parts;
    this.#adapters = adapters;
    this.#vocabulary = logitsOfPosition(graph) ?? 0;
    this.#rows = new CacheRows(cacheTypes(graph, pairs), rows);
    this.longest = longestPaddedMask(graph);
  }

  get rows(): number {
    return this.#rows.rows;
  }

  reserve(total: number, filled: readonly number[]): void {
    if (this.#rows.reserve(total, filled)) this.#unbind();
  }

  copy(from: number, to: number, tokens: number): void {
    this.#rows.copy(from, to, tokens);
  }

  async read(first: number, texts: readonly TextTokens[]): Promise<Float32Array[]> {
    const count = texts[0].fresh.length;
    const span = this.#span(first, texts);
    const tokens = texts.length * count;
    await this.#clock.time(tokens, (brief) => span.bound.run({ brief }));
    return texts.map((_, i) =>
      span.logits.subarray(i * this.#vocabulary, (i + 1) * this.#vocabulary)
    );
  }

  [Symbol.dispose](): void {
    this.#unbind();
  }

  /** The rows' span, fed with the tokens. */
  #span(first: number, texts: readonly TextTokens[]): Span {
    const key = `${first}:${texts.length}`;
    const known = this.#spans.get(key);
    const columns = this.#columns(texts);
    if (known !== undefined) {
      for (const name of known.inputs.write(texts, columns)) {
        known.bound.feed(name, known.inputs.tensors.get(name)!);
      }
      if (known.adapters?.write(adaptersOf(texts))) known.adapters.feed(known.bound);
      return known;
    }
    const span = this.#bind(first, texts, columns);
    this.#spans.set(key, span);
    return span;
  }

  #bind(first: number, texts: readonly TextTokens[], columns: number): Span {
    const { runner, executable, graph, pairs } = this.#parts;
    const rows = texts.length;
    using resources = new DisposableStack();
    const inputs = resources.use(new FedInputs(runner, fedNames(graph)));
    inputs.write(texts, columns);
    // The binding keeps references to its tensors.
    using handles = new DisposableStack();
    const feeds = emptyRecord<DeviceTensor>();
    const outputs = emptyRecord<DeviceTensor>();
    for (const { past, present } of pairs) {
      const cache = handles.use(runner.share(this.#rows.slice(past, first, rows)));
      feeds[past] = cache;
      outputs[present] = cache;
    }
    const logits = new Float32Array(rows * this.#vocabulary);
    outputs.logits = handles.use(runner.share({
      dtype: "float32",
      dims: [rows, this.#vocabulary],
      bytes: new Uint8Array(logits.buffer),
    }));
    for (const [name, tensor] of inputs.tensors) feeds[name] = tensor;
    const adapters = this.#adapters && resources.use(new FedAdapters(runner, this.#adapters));
    adapters?.write(adaptersOf(texts));
    for (const [name, tensor] of adapters?.tensors ?? []) feeds[name] = tensor;
    const bound = resources.use(executable.bind(feeds, outputs));
    const owned = resources.move();
    return { inputs, adapters, bound, logits, [Symbol.dispose]: () => owned.dispose() };
  }

  /** Columns of the mask: for one token each all that there is room for, so that shapes stay the same. */
  #columns(texts: readonly FreshTokens[]): number {
    const total = Math.max(...texts.map(({ fresh, start }) => start + fresh.length));
    if (texts[0].fresh.length > 1) return total;
    return Math.max(total, Math.min(this.#rows.capacity, this.longest));
  }

  #unbind(): void {
    for (const span of this.#spans.values()) span[Symbol.dispose]();
    this.#spans.clear();
  }
}

const adaptersOf = (texts: readonly TextTokens[]) => texts.map(({ adapter }) => adapter);
