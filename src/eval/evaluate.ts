/** Evaluates a model through its inference graph: what a user's runtime would compute. */
import { float32, int64, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Graph, Model } from "../graph/types.ts";
import { MASK_SUFFIX } from "../plan/dropout.ts";
import { bindInputs } from "../plan/inputs.ts";
import { batchFeed } from "./batch_feed.ts";
import { LABELS } from "../plan/names.ts";
import { TARGET_ROWS } from "../plan/select_rows.ts";
import type {
  CompileOptions,
  DeviceTensor,
  Executable,
  Runner,
  RunOptions,
} from "../runtime/runner.ts";
import { inPieces } from "../runtime/in_pieces.ts";
import { targetsOf, type TokenBatch } from "../data/targets.ts";
import { inParts, logitRowLimit } from "./in_parts.ts";
import { ROW_LOGITS, ROW_LOSSES, withLoss } from "./loss_graph.ts";
import { ClassificationMetrics } from "./metrics.ts";

/** What an evaluation found. */
export interface EvaluationResult {
  /** Mean loss per target token or example, in nats. */
  readonly loss: number;
  /** exp(loss), for language models. */
  readonly perplexity?: number;
  /** For classifiers. */
  readonly accuracy?: number;
  readonly macroF1?: number;
  /** Target tokens or examples. */
  readonly count: number;
  /** Logits of the first target rows, [rows, classes] one after the other, as many as were asked for. */
  readonly logits: Float32Array;
}

export interface EvaluateOptions {
  readonly objective: "causal" | "classification";
  /** Target rows whose logits to return; default 0. */
  readonly logitRows?: number;
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
export async function evaluate(
  runner: Runner,
  model: Model,
  batches: AsyncIterable<TokenBatch> | Iterable<TokenBatch>,
  options: EvaluateOptions,
): Promise<EvaluationResult> {
  const causal = options.objective === "causal";
  const evaluated = causal ? withLoss(model) : model;
  const compile = { label: "evaluation", ...options.compile };
  using resources = new DisposableStack();
  const executable = options.weightBytesAtOnce === undefined
    ? resources.use(await runner.compile(evaluated, compile))
    : inPieces(runner, evaluated, options.weightBytesAtOnce, compile);
  const sample = new LogitSample(options.logitRows ?? 0);
  const run: RunBatch = (batch, extra, outputs) =>
    runOn(runner, executable, evaluated.graph, batch, extra, outputs);
  return causal
    ? await evaluateCausal(run, inParts(batches, logitRowLimit(model.graph)), sample)
    : await evaluateClasses(run, batches, sample);
}

type Batches = AsyncIterable<TokenBatch> | Iterable<TokenBatch>;

/** Runs the evaluated graph: a batch, inputs beside it, names of the outputs to fetch. */
type RunBatch = (
  batch: TokenBatch,
  extra: ReadonlyMap<string, Tensor>,
  outputs: readonly string[],
) => Promise<Record<string, DeviceTensor>>;

async function evaluateCausal(
  run: RunBatch,
  batches: Batches,
  sample: LogitSample,
): Promise<EvaluationResult> {
  let sum = 0;
  let count = 0;
  for await (const batch of batches) {
    const targets = targetsOf(batch);
    if (targets.count === 0) continue;
    const rows = new Map<string, Tensor>([
      [TARGET_ROWS, int64([targets.count], targets.positions!)],
      [LABELS, int64([targets.count], targets.labels)],
    ]);
    // What is not asked for, the runtime lets go of as soon as it can.
    const outputs = sample.wanted ? [ROW_LOSSES, ROW_LOGITS] : [ROW_LOSSES];
    const results = await run(batch, rows, outputs);
    using losses = results[ROW_LOSSES];
    using logits = results[ROW_LOGITS] as DeviceTensor | undefined;
    for (const loss of toNumbers(losses.read())) sum += loss;
    count += targets.count;
    if (logits !== undefined) sample.add(logits.read());
  }
  if (count === 0) throw new RangeError("There is nothing to evaluate");
  const loss = sum / count;
  return { loss, perplexity: Math.exp(loss), count, logits: sample.values() };
}

async function evaluateClasses(
  run: RunBatch,
  batches: Batches,
  sample: LogitSample,
): Promise<EvaluationResult> {
  let metrics: ClassificationMetrics | undefined;
  for await (const batch of batches) {
    const results = await run(batch, new Map(), ["logits"]);
    using held = results.logits;
    const logits = held.read();
    const classes = logits.dims[logits.dims.length - 1];
    metrics ??= new ClassificationMetrics(classes);
    const values = Float32Array.from(toNumbers(logits));
    const { labels, count } = targetsOf(batch);
    for (let row = 0; row < count; row++) {
      metrics.add(values.subarray(row * classes, (row + 1) * classes), labels[row]);
    }
    if (sample.wanted) sample.add(logits);
  }
  if (metrics === undefined) throw new RangeError("There is nothing to evaluate");
  const { loss, accuracy, macroF1, count } = metrics;
  return { loss, accuracy, macroF1, count, logits: sample.values() };
}

/**
 * Runs a graph on a batch; empty caches stand for "no past".
 *
 * @param outputs names of those to fetch, which are then the caller's; default all
 */
export async function runOn(
  runner: Runner,
  executable: Pick<Executable, "run">,
  graph: Graph,
  batch: TokenBatch,
  extra: ReadonlyMap<string, Tensor>,
  outputs?: readonly string[],
  options?: RunOptions,
): Promise<Record<string, DeviceTensor>> {
  const [sequences, length] = batch.inputIds.dims;
  const feeds: Record<string, DeviceTensor> = {};
  try {
    for (const [name, value] of extra) feeds[name] = runner.wrap(value);
    const inputs = graph.inputs.filter(({ name }) => !extra.has(name));
    // Outside training nothing is dropped.
    for (const { name } of inputs) {
      if (name.endsWith(MASK_SUFFIX)) feeds[name] = runner.upload(float32([1], [1]));
    }
    const bound = bindInputs({ ...graph, inputs }, { batch: sequences, length });
    for (const [name, input] of bound) feeds[name] = runner.wrap(batchFeed(name, input, batch));
    return await executable.run(feeds, outputs, options);
  } finally {
    for (const feed of Object.values(feeds)) feed[Symbol.dispose]();
  }
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
