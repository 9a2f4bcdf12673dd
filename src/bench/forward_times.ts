/** Times whole forward passes of models over batches of one shape, the models taking turns. */
import type { TokenBatch } from "../data/targets.ts";
import { batchFeed } from "../eval/batch_feed.ts";
import { int64 } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { bindInputs } from "../plan/inputs.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import { Random } from "../random.ts";
import { emptyRecord } from "../records.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import { timedRun } from "../runtime/timed_run.ts";
import { withChosenLogits } from "../serve/last_logits.ts";

/** Sequences of a batch and tokens of each. */
export interface ForwardShape {
  readonly batch: number;
  readonly length: number;
}

/** How long models are timed. */
export interface ForwardOptions {
  /** Token ids are drawn below this. */
  readonly vocabulary: number;
  /** Rounds at least and at most, after one that is left out; a round runs each model once. */
  readonly minRounds: number;
  readonly maxRounds: number;
  /** Milliseconds after which no further round begins. */
  readonly budgetMs: number;
  /** Ends it between two rounds: its reason is thrown. */
  readonly signal?: AbortSignal;
}

/**
 * Times models on one batch of made-up tokens without padding. A language model computes the logits of
 * each sequence's last token only, as it does in use.
 *
 * @param models compiled, and in use until the end
 * @returns milliseconds of each model, a round each; `times[model][round]`
 */
export async function timeForward(
  models: readonly ForwardModel[],
  shape: ForwardShape,
  { vocabulary, minRounds, maxRounds, budgetMs, signal }: ForwardOptions,
): Promise<readonly (readonly number[])[]> {
  using feeds = new DisposableStack();
  const fed = models.map((model) => feeds.use(model.feed(shape, vocabulary)));
  const times: number[][] = models.map(() => []);
  let until = Infinity;
  for (let round = 0; round <= maxRounds; round++) {
    if (round > minRounds && performance.now() > until) break;
    signal?.throwIfAborted();
    for (let turn = 0; turn < fed.length; turn++) {
      // Each begins as often as the others, and follows either neighbour.
      const at = ((round % 2 === 0 ? turn : fed.length - 1 - turn) + (round >> 1)) % fed.length;
      const time = await fed[at].run();
      if (round > 0) times[at].push(time);
    }
    if (round === 0) until = performance.now() + budgetMs;
  }
  return times;
}

/** A compiled model whose forward pass is timed. */
export class ForwardModel implements Disposable {
  readonly #runner: Runner;
  readonly #model: Model;
  readonly #executable: Executable;
  readonly #virtualIds: readonly number[];
  readonly #maxLength: number;

  private constructor(
    runner: Runner,
    model: Model,
    executable: Executable,
    virtualIds: readonly number[],
    maxLength: number,
  ) {
    this.#runner = runner;
    this.#model = model;
    this.#executable = executable;
    this.#virtualIds = virtualIds;
    this.#maxLength = maxLength;
  }

  /**
   * @param causal whether it is a language model
   * @param label its name in errors
   * @param virtualIds ids of virtual tokens, which every text is longer by
   * @param maxLength tokens that the model takes: a text and its virtual tokens are no longer
   */
  static async open(
    runner: Runner,
    model: Model,
    { causal, label, virtualIds = [], maxLength = Infinity }: {
      readonly causal: boolean;
      readonly label: string;
      readonly virtualIds?: readonly number[];
      readonly maxLength?: number;
    },
  ): Promise<ForwardModel> {
    const chosen = causal ? withChosenLogits(model) : model;
    const executable = await runner.compile(chosen, { label });
    return new ForwardModel(runner, chosen, executable, virtualIds, maxLength);
  }

  /** The model with a batch of made-up tokens in its inputs. */
  feed({ batch: rows, length: wanted }: ForwardShape, vocabulary: number): FedModel {
    const virtual = this.#virtualIds.length;
    const length = Math.min(wanted, this.#maxLength - virtual);
    const shape = { batch: rows, length: length + virtual };
    const batch = madeUpBatch({ batch: rows, length }, vocabulary, this.#virtualIds);
    const feeds = emptyRecord<DeviceTensor>();
    const { graph } = this.#model;
    const inputs = graph.inputs.filter(({ name }) => name !== TARGET_ROWS);
    for (const [name, input] of bindInputs({ ...graph, inputs }, shape)) {
      feeds[name] = this.#runner.upload(batchFeed(name, input, batch));
    }
    if (inputs.length < graph.inputs.length) {
      feeds[TARGET_ROWS] = this.#runner.upload(lastRows(shape));
    }
    return new FedModel(this.#executable, feeds);
  }

  [Symbol.dispose](): void {
    this.#executable[Symbol.dispose]();
  }
}

class FedModel implements Disposable {
  constructor(
    readonly executable: Executable,
    readonly feeds: Readonly<Record<string, DeviceTensor>>,
  ) {}

  /** Milliseconds of one run. */
  run(): Promise<number> {
    return timedRun(this.executable, this.feeds);
  }

  [Symbol.dispose](): void {
    for (const feed of Object.values(this.feeds)) feed[Symbol.dispose]();
  }
}

/** Positions of each sequence's last token among all tokens of the batch. */
const lastRows = ({ batch, length }: ForwardShape) =>
  int64([batch], Array.from({ length: batch }, (_, row) => (row + 1) * length - 1));

function madeUpBatch(
  { batch, length }: ForwardShape,
  vocabulary: number,
  before: readonly number[],
): TokenBatch {
  const dims = [batch, before.length + length];
  const count = batch * dims[1];
  const random = Random.fromSeed(0);
  const row = () => [...before, ...Array.from({ length }, () => random.next() % vocabulary)];
  return {
    inputIds: int64(dims, Array.from({ length: batch }, row).flat()),
    attentionMask: int64(dims, new Uint8Array(count).fill(1)),
    tokenCount: count,
  };
}
