/**
 * Gram matrices of layer inputs over the training data, for error-compensated rounding.
 *
 * Nothing but sums and the activations of a few hundred tokens is held: weights are fed to the runs
 * from where they lie in the file, and what one request leaves live in the network is kept on disk, so
 * that the next one goes on from there instead of computing all layers below again.
 */
import { join } from "@std/path";
import type { TokenBatch } from "../data/targets.ts";
import { feedWeights } from "../graph/passes/feed_weights.ts";
import { narrowestPlace, type Place, resumeWith } from "../graph/passes/resume.ts";
import { float32Over, type Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { type GramNames, withGramOutputs } from "../lora/merge/gram_graph.ts";
import type { GramRequest, GramSource } from "../lora/merge/merge.ts";
import { readsShapes } from "../ops/kinds.ts";
import { bindInputs } from "../plan/inputs.ts";
import { batchFeed } from "../eval/batch_feed.ts";
import { Scratch } from "../quant/scratch.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import { ActivationLog } from "./activation_log.ts";
import { inEqualLengths, unpadded } from "./equal_lengths.ts";
import { untilAborted } from "./give_way.ts";

/** Training data, given again from the start each time it is asked for. */
export interface GramData {
  batches(): Iterable<TokenBatch> | AsyncIterable<TokenBatch>;
  /** Tokens to stop after; default 4,096. */
  readonly maxTokens?: number;
}

export interface CollectOptions {
  /** Folder for what one request leaves to the next; without it every one begins with the tokens. */
  readonly folder?: string;
  /** Told how far a request is. */
  readonly onTokens?: (done: number, atMost: number) => void;
  /** Ends the work between two runs. */
  readonly signal?: AbortSignal;
}

/**
 * Tokens of a run: dequantising the weights for fewer costs as much, activations of more take memory.
 * Of that there is the more, the larger the file is.
 */
const RUN_TOKENS = { least: 192, most: 1024, forEachByte: 1 / 2 ** 19 };
const DEFAULT_TOKENS = 4096;

/** Inputs whose contents go through the whole network; masks and positions are computed again. */
const SOURCES: ReadonlySet<string> = new Set(["input_ids", "inputs_embeds"]);

/**
 * A source of Gram matrices that runs a model over data.
 *
 * Each request runs the data once, through the part of the graph that it needs. The runtime adds to
 * the sums where they lie, in an array that the next request uses again: what one gave is then lost.
 *
 * @param model the base, or better the base with its adapter: what the merged layers will see
 * @throws {RangeError} where the data has no tokens
 * @throws {StorageError} naming the file of activations
 */
export function gramSource(
  runner: Runner,
  model: Model,
  data: GramData,
  { folder, onTokens, signal }: CollectOptions = {},
): GramSource {
  const scratch = new Scratch();
  let left: Kept | undefined;
  let turn = 0;
  return async (requests, following = []) => {
    const from = left !== undefined && comesAfter(model, left.place, requests) ? left : undefined;
    const place = folder === undefined || following.length === 0
      ? undefined
      : narrowestPlace(model.graph, namesOf(requests), namesOf(following), SOURCES, readsShapes);
    const keep = place &&
      { place, log: new ActivationLog(join(folder!, `activations-${turn++ % 2}`)) };
    using pass = await Pass.open(runner, model, { requests, from, keep, scratch });
    const { maxTokens = DEFAULT_TOKENS } = data;
    const batches = inEqualLengths(sequences(data.batches(), maxTokens), runTokens(model));
    for await (const batch of untilAborted(batches, signal)) {
      await pass.run(batch);
      onTokens?.(pass.tokens, maxTokens);
    }
    if (pass.tokens === 0) throw new RangeError("No data was given to collect activations from");
    left = keep;
    return pass.grams();
  };
}

function runTokens({ graph }: Model): number {
  const { least, most, forEachByte } = RUN_TOKENS;
  const weights = [...graph.initializers.values()];
  const bytes = weights.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  return Math.min(most, Math.max(least, Math.floor(bytes * forEachByte)));
}

/** What a request leaves live, and where it is kept. */
interface Kept {
  readonly place: Place;
  readonly log: ActivationLog;
}

const namesOf = (requests: readonly GramRequest[]) => requests.map(({ value }) => value);

/** Whether all values are computed after a place. */
function comesAfter({ graph }: Model, place: Place, requests: readonly GramRequest[]): boolean {
  const later = new Set(graph.nodes.slice(place.position).flatMap(({ outputs }) => outputs));
  return requests.every(({ value }) => later.has(value));
}

/** The model from where a request stopped. */
function goneOnWith(model: Model, { place: { live }, log }: Kept): Model {
  const types = log.types(live.length).map((type, i) => [live[i], type] as const);
  return { ...model, graph: resumeWith(model.graph, new Map(types)) };
}

async function* sequences(
  batches: Iterable<TokenBatch> | AsyncIterable<TokenBatch>,
  maxTokens: number,
): AsyncGenerator<TokenBatch> {
  let tokens = 0;
  for await (const batch of batches) {
    for (const row of unpadded(batch)) {
      yield row;
      tokens += row.tokenCount;
      if (tokens >= maxTokens) return;
    }
  }
}

interface PassOptions {
  readonly requests: readonly GramRequest[];
  /** Where to go on. */
  readonly from: Kept | undefined;
  /** Where to stop, and where to keep what is live there. */
  readonly keep: Kept | undefined;
  readonly scratch: Scratch;
}

/** One way through the data. */
class Pass implements Disposable {
  /** Tokens of the runs so far. */
  tokens = 0;
  readonly #runner: Runner;
  readonly #executable: Executable;
  readonly #model: Model;
  readonly #grams: readonly GramNames[];
  readonly #values: readonly Float32Array<ArrayBuffer>[];
  readonly #sums: readonly DeviceTensor[];
  /** Weights and sums by the names they are fed under. */
  readonly #constant: ReadonlyMap<string, DeviceTensor>;
  /** What the request before left, in order; of these the graph may not read all. */
  readonly #given: readonly string[];
  readonly #left: readonly string[];
  readonly #reader: ReturnType<ActivationLog["read"]> | undefined;
  readonly #writer: ReturnType<ActivationLog["write"]> | undefined;
  readonly #resources = new DisposableStack();

  static async open(runner: Runner, model: Model, options: PassOptions): Promise<Pass> {
    const { requests, from, keep } = options;
    const begun = from === undefined ? model : goneOnWith(model, from);
    const summing = withGramOutputs(begun, requests, keep?.place.live);
    const { graph, weights } = feedWeights(summing.model.graph);
    const executable = await runner.compile({ ...model, graph }, {
      label: "activations",
      // Rounding, which follows, needs the room.
      arena: false,
      // Lengths differ from run to run: a plan of memory for each would be kept.
      memoryPattern: false,
    });
    return new Pass(runner, executable, summing, weights, options);
  }

  private constructor(
    runner: Runner,
    executable: Executable,
    { model, grams }: ReturnType<typeof withGramOutputs>,
    weights: ReadonlyMap<string, Tensor>,
    { from, keep, scratch }: PassOptions,
  ) {
    const resources = this.#resources;
    this.#runner = runner;
    this.#executable = resources.use(executable);
    this.#model = model;
    this.#grams = grams;
    const all = scratch.float32("grams", grams.reduce((sum, { cols }) => sum + cols * cols, 0));
    all.fill(0);
    let at = 0;
    this.#values = grams.map(({ cols }) => all.subarray(at, at += cols * cols));
    this.#sums = grams.map(({ cols }, i) =>
      resources.use(runner.share(float32Over([cols, cols], this.#values[i])))
    );
    this.#constant = new Map([
      ...[...weights].map(([name, value]) => [name, resources.use(runner.wrap(value))] as const),
      ...grams.map(({ before }, i) => [before, this.#sums[i]] as const),
    ]);
    this.#given = from?.place.live ?? [];
    this.#left = keep?.place.live ?? [];
    this.#reader = from && resources.use(from.log.read());
    this.#writer = keep && resources.use(keep.log.write());
  }

  /** Adds a batch to the sums. */
  async run(batch: TokenBatch): Promise<void> {
    using feeds = this.#feeds(batch);
    const sums = this.#grams.map(({ after }) => after);
    // Gemm begins with a copy of what it adds to, which in place is none.
    const into = this.#runner.inPlace
      ? Object.fromEntries(sums.map((name, i) => [name, this.#sums[i]]))
      : {};
    const results = await this.#executable.run(
      Object.fromEntries([...feeds.values, ...this.#constant]),
      [...sums, ...this.#left],
      { into },
    );
    sums.forEach((name, i) => {
      if (this.#runner.inPlace) return;
      using result = results[name];
      this.#sums[i].write(result.read());
    });
    for (const name of this.#left) {
      using result = results[name];
      this.#writer!.append(result);
    }
    this.tokens += batch.tokenCount;
  }

  /** The sums by the names of the values. */
  grams() {
    return new Map(this.#grams.map(({ value, cols }, i) => {
      return [value, { cols, count: this.tokens, values: this.#values[i] }] as const;
    }));
  }

  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }

  #feeds(batch: TokenBatch): Disposable & { readonly values: ReadonlyMap<string, DeviceTensor> } {
    const [rows, length] = batch.inputIds.dims;
    const { graph } = this.#model;
    const given = new Set(this.#given);
    const inputs = graph.inputs.filter(({ name }) => !this.#constant.has(name) && !given.has(name));
    using tensors = new DisposableStack();
    const values = new Map<string, DeviceTensor>();
    const feed = (name: string, value: Tensor) =>
      values.set(name, tensors.use(this.#runner.wrap(value)));
    const bound = bindInputs({ ...graph, inputs }, { batch: rows, length });
    for (const [name, input] of bound) feed(name, batchFeed(name, input, batch));
    const read = new Set(graph.inputs.map(({ name }) => name));
    for (const name of this.#given) {
      const value = this.#reader!.next(name);
      if (read.has(name)) feed(name, value);
    }
    const owned = tensors.move();
    return { values, [Symbol.dispose]: () => owned.dispose() };
  }
}
