/** Evaluates a model through its inference graph: what a user's runtime would compute. */
import { BadInputError } from "../errors.ts";
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { inPieces } from "../runtime/in_pieces.ts";
import { type CompileOptions, OWN_ARENA, type Runner } from "../runtime/runner.ts";
import type { RowCut } from "../data/row_cuts.ts";
import { targetsOf, type TokenBatch } from "../data/targets.ts";
import { chooseCut, cutOf } from "./choose_cut.ts";
import { evaluateEach, type EvaluationPeers } from "./evaluate_each.ts";
import { ClassificationMetrics, predictionOf } from "./metrics.ts";
import { total } from "../statistics.ts";
import { RowLosses } from "./row_losses.ts";
import { runOn } from "./run_on.ts";

/** What an evaluation found. */
export interface EvaluationResult {
  /** Mean loss per target token or example, in nats. */
  readonly loss: number;
  /** exp(loss), for language models. */
  readonly perplexity?: number;
  /** For classifiers. */
  readonly accuracy?: number;
  /** Mean of the classes' F1 scores, 0 to 1; for classifiers. */
  readonly macroF1?: number;
  /** Target tokens or examples. */
  readonly count: number;
  /**
   * Sums of losses over parts of the data, in its order, that can be taken for independent: examples
   * of a classifier, of a language model the sequences that ran together. Empty where they are unknown.
   */
  readonly partLosses: readonly number[];
  /** Logits of the first target rows, [rows, classes] one after the other, as many as were asked for. */
  readonly logits: Float32Array;
  /** Which sequences ran together. */
  readonly cut: RowCut;
  /**
   * Where the losses are of floats though the runtime's kernels may round activations: how much that
   * changes {@linkcode EvaluationResult.logits}, which are the runtime's, relative to them.
   */
  readonly roundingDifference?: number;
}

/** Losses of a model that were found before: a sum and the number of targets of each batch. */
export interface KnownLosses {
  readonly losses: readonly number[];
  readonly targets: readonly number[];
}

/** Such losses of a base alone and with its adapter, over the same batches. */
export interface ReferenceLosses {
  readonly base: KnownLosses;
  readonly adapter: KnownLosses;
}

/**
 * Evaluates a model on batches.
 *
 * @param options.known losses of the same model over the same batches, found in floats: where they
 *   would be computed so again, they are taken
 */
export type Evaluator = (
  model: Model,
  batches: AsyncIterable<TokenBatch> | Iterable<TokenBatch>,
  options: Pick<EvaluateOptions, "objective" | "logitRows" | "peers"> & {
    readonly known?: KnownLosses;
  },
) => Promise<EvaluationResult>;

export interface EvaluateOptions {
  readonly objective: "causal" | "classification";
  /** Target rows whose logits to return; default 0. */
  readonly logitRows?: number;
  /** Other processes that evaluate the same model on the same batches; all get the whole result. */
  readonly peers?: EvaluationPeers;
  readonly compile?: CompileOptions;
  /**
   * Bytes of weights that are to be in memory at once: every batch then compiles the graph anew, piece
   * by piece. Default: one session has them all.
   */
  readonly weightBytesAtOnce?: number;
}

/**
 * @param model as it runs at inference, adapters merged or injected, with an output `logits`
 * @param batches padded on the right
 */
export async function evaluateModel(
  runner: Runner,
  model: Model,
  batches: AsyncIterable<TokenBatch> | Iterable<TokenBatch>,
  options: EvaluateOptions,
): Promise<EvaluationResult> {
  const sample = new LogitSample(options.logitRows ?? 0);
  const compile = {
    label: "evaluation",
    ...options.compile,
    config: { ...OWN_ARENA, ...options.compile?.config },
  };
  using sessions = new DisposableStack();
  const open = async (part: Model) =>
    options.weightBytesAtOnce === undefined
      ? sessions.use(await runner.compile(part, compile))
      : inPieces(runner, part, options.weightBytesAtOnce, compile);
  if (options.objective === "causal") {
    const cut = cutOf(model.graph);
    const scores = new RowLosses(runner, model, open);
    return { ...await evaluateCausal(scores, batches, cut, sample, options.peers), cut };
  }
  const executable = await open(model);
  const run = async (batch: TokenBatch) => {
    using logits = (await runOn(runner, executable, model.graph, batch, new Map(), ["logits"]))
      .logits;
    const value = logits.read();
    return float32(value.dims, toNumbers(value));
  };
  let cut: RowCut | undefined;
  const choose = async (batch: TokenBatch) => {
    cut ??= await chooseCut(model.graph, batch, async (rows) => toNumbers(await run(rows)));
    return cut(batch);
  };
  const result = await evaluateClasses(run, batches, choose, sample, options.peers);
  return { ...result, cut: cut! };
}

type Batches = AsyncIterable<TokenBatch> | Iterable<TokenBatch>;

async function evaluateCausal(
  scores: RowLosses,
  batches: Batches,
  cut: RowCut,
  sample: LogitSample,
  peers: EvaluationPeers | undefined,
): Promise<Omit<EvaluationResult, "cut">> {
  /** The number of targets and the losses of a batch's parts. */
  const evaluate = async (batch: TokenBatch) => {
    let count = 0;
    const losses: number[] = [];
    for await (const scored of scores.of(cut(batch), () => sample.wanted)) {
      losses.push(total(toNumbers(scored.losses.read())));
      count += scored.count;
      if (scored.logits !== undefined) sample.add(scored.logits.read());
    }
    return [count, ...losses];
  };
  let count = 0;
  const partLosses: number[] = [];
  const all = () => sample.wanted;
  for await (const [targets, ...losses] of evaluateEach(batches, evaluate, { peers, all })) {
    count += targets;
    partLosses.push(...losses);
  }
  if (count === 0) throw new RangeError("There is nothing to evaluate");
  const loss = total(partLosses) / count;
  return { loss, perplexity: Math.exp(loss), count, partLosses, logits: sample.values() };
}

async function evaluateClasses(
  run: (batch: TokenBatch) => Promise<Tensor>,
  batches: Batches,
  cut: (batch: TokenBatch) => Promise<readonly TokenBatch[]>,
  sample: LogitSample,
  peers: EvaluationPeers | undefined,
): Promise<Omit<EvaluationResult, "cut">> {
  /** The number of classes, and for each row the predicted class, the right one and the loss. */
  const evaluate = async (batch: TokenBatch) => {
    const found: number[] = [];
    for (const part of await cut(batch)) {
      const logits = await run(part);
      const classes = logits.dims[logits.dims.length - 1];
      if (found.length === 0) found.push(classes);
      const values = toNumbers(logits) as Float32Array;
      const { labels, count } = targetsOf(part);
      const beyond = labels.find((label) => label >= classes);
      if (beyond !== undefined) {
        throw new BadInputError(
          `Cannot evaluate class ${beyond}: the model scores ${classes} classes, from 0 on`,
        );
      }
      for (let row = 0; row < count; row++) {
        const scores = values.subarray(row * classes, (row + 1) * classes);
        const { predicted, label, loss } = predictionOf(scores, labels[row]);
        found.push(predicted, label, loss);
      }
      if (sample.wanted) sample.add(logits);
    }
    return found;
  };
  let metrics: ClassificationMetrics | undefined;
  const partLosses: number[] = [];
  const all = () => sample.wanted;
  for await (const [classes, ...rows] of evaluateEach(batches, evaluate, { peers, all })) {
    metrics ??= new ClassificationMetrics(classes);
    for (let at = 0; at < rows.length; at += 3) {
      const [predicted, label, loss] = rows.slice(at, at + 3);
      metrics.addPrediction({ predicted, label, loss });
      partLosses.push(loss);
    }
  }
  if (metrics === undefined) throw new RangeError("There is nothing to evaluate");
  const { loss, accuracy, macroF1, count } = metrics;
  return { loss, accuracy, macroF1, count, partLosses, logits: sample.values() };
}

/** Collects logits of the first rows. */
class LogitSample {
  readonly #parts: Float32Array[] = [];
  #rows = 0;

  constructor(readonly limit: number) {}

  get wanted(): boolean {
    return this.#rows < this.limit;
  }

  add(logits: Tensor): void {
    const classes = logits.dims[logits.dims.length - 1];
    const rows = Math.min(logits.dims[0], this.limit - this.#rows);
    this.#parts.push(Float32Array.from(toNumbers(logits)).subarray(0, rows * classes));
    this.#rows += rows;
  }

  values(): Float32Array {
    const out = new Float32Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}
