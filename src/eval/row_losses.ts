/** Losses of a language model's target rows, batch by batch. */
import { byteLength } from "../graph/dtype.ts";
import { int64, type Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { type Targets, targetsOf, type TokenBatch } from "../data/targets.ts";
import { LABELS } from "../plan/names.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import type { DeviceTensor, Runnable, Runner } from "../runtime/runner.ts";
import { type CutLoss, cutLoss } from "./cut_loss.ts";
import { inParts, logitRowLimit } from "./in_parts.ts";
import { ROW_LOGITS, ROW_LOSSES } from "./loss_graph.ts";
import { runOn } from "./run_on.ts";

/** Opens a part of the evaluated model; what has to be closed is not the caller's. */
export type Open = (model: Model) => Promise<Runnable>;

/** What some target rows have come to. */
export interface Scored extends Disposable {
  /** float32 [rows] */
  readonly losses: DeviceTensor;
  /** float32 [rows, vocabulary], where they were asked for. */
  readonly logits?: DeviceTensor;
  readonly count: number;
}

export class RowLosses {
  readonly #runner: Runner;
  readonly #open: Open;
  readonly #cut: CutLoss;
  readonly #rowLimit: number;
  #body: Runnable | undefined;
  #head: Runnable | undefined;

  /** @param rowLimit target rows whose logits may be in memory at once */
  constructor(
    runner: Runner,
    model: Model,
    open: Open,
    rowLimit: number = logitRowLimit(model.graph),
  ) {
    this.#runner = runner;
    this.#open = open;
    this.#cut = cutLoss(model);
    this.#rowLimit = rowLimit;
  }

  /**
   * Scores the targets of batches, in their order; each result is good until the next is asked for.
   *
   * @param logits asked before each run: whether its logits are wanted
   */
  async *of(
    batches: AsyncIterable<TokenBatch> | Iterable<TokenBatch>,
    logits: () => boolean,
  ): AsyncGenerator<Scored> {
    const { headScores } = this.#cut;
    for await (const batch of headScores ? batches : inParts(batches, this.#rowLimit)) {
      const targets = targetsOf(batch);
      if (targets.count === 0) continue;
      using made = await this.#states(batch, targets);
      const states = made.view();
      const rows = headScores ? this.#rowLimit : targets.count;
      for (let start = 0; start < targets.count; start += rows) {
        const labels = targets.labels.slice(start, start + rows);
        using scored = await this.#score(states, start, labels, logits());
        yield scored;
      }
    }
  }

  async #states(batch: TokenBatch, targets: Targets): Promise<DeviceTensor> {
    const { body, states } = this.#cut;
    const executable = this.#body ??= await this.#open(body);
    const positions = new Map([[TARGET_ROWS, int64([targets.count], targets.positions!)]]);
    const results = await runOn(this.#runner, executable, body.graph, batch, positions, [states]);
    return results[states];
  }

  async #score(
    { dtype, dims: [, width], bytes }: Tensor,
    start: number,
    labels: Targets["labels"],
    logits: boolean,
  ): Promise<Scored> {
    const type = { dtype, shape: ["rows", width] };
    const executable = this.#head ??= await this.#open(this.#cut.head(type));
    const [from, to] = [start, start + labels.length].map((row) => byteLength(dtype, row * width));
    const dims = [labels.length, width];
    using rows = this.#runner.wrap({ dtype, dims, bytes: bytes.subarray(from, to) });
    using own = this.#runner.wrap(int64([labels.length], labels));
    // What is not asked for, the runtime lets go of as soon as it can.
    const outputs = logits ? [ROW_LOSSES, ROW_LOGITS] : [ROW_LOSSES];
    const feeds = { [this.#cut.states]: rows, [LABELS]: own };
    const results = await executable.run(feeds, outputs);
    return {
      losses: results[ROW_LOSSES],
      logits: results[ROW_LOGITS] as DeviceTensor | undefined,
      count: labels.length,
      [Symbol.dispose]() {
        for (const result of Object.values(results)) result[Symbol.dispose]();
      },
    };
  }
}
