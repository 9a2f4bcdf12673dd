/** Evaluates a model on held-out data, given paths and settings. */
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import { DATA_PARAMETERS, type DataConfig } from "../data/data_config.ts";
import { batchesDigest } from "../data/batches_digest.ts";
import type { Batch, Batches, PrepareReport, Task } from "../data/mod.ts";
import type { Communicator } from "../distributed/communicator.ts";
import { compareRanks, inJob, RANKS_PARAMETERS, type RanksConfig } from "../distributed/job.ts";
import { BadInputError } from "../errors.ts";
import type { EvaluationResult } from "../eval/evaluate.ts";
import { modelDigest } from "../lora/digest.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import { openRunner, type RuntimeOptions } from "../runtime/open_runner.ts";
import type { RuntimeNote } from "../runtime/runtime_note.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import { loadEvaluationData } from "./evaluation_data.ts";
import { evaluatorFor } from "./evaluator.ts";
import { openChosen } from "./open_chosen.ts";
import type { Watch } from "./watch.ts";

/** What is evaluated, and on which data. */
export interface EvaluateConfig extends DataConfig, RuntimeOptions, RanksConfig {
  /** Folder of an ONNX model, its `.onnx` file, the name of a pulled model, or `default`. */
  readonly model: string;
  /** Folder or name of an adapter to evaluate on the model without merging it; default none. */
  readonly adapterPath?: string;
  /** A data folder, of which the test part (else valid, else train) is used, one file, or `quickstart`. */
  readonly data: string;
  /** Rows per batch, at least 1; rows of similar length go together; default 8. */
  readonly batchSize: number;
}

/** The parameters of an {@linkcode EvaluateConfig}. */
export const EVALUATE_PARAMETERS = {
  ...DATA_PARAMETERS,
  ...RUNTIME_PARAMETERS,
  ...RANKS_PARAMETERS,
  model: { kind: "text", required: true },
  adapterPath: { kind: "text" },
  data: { kind: "text", required: true },
  batchSize: { kind: "integer", default: 8, min: 1 },
} as const satisfies ParametersOf<EvaluateConfig>;

/** An {@linkcode EvaluateConfig} as a program writes it: absent parameters take their defaults. */
export type EvaluateInput = Given<EvaluateConfig, "model" | "data">;

/** What an evaluation reports while it runs. */
export type EvaluateEvent =
  | RuntimeNote
  | AdapterNote
  /** Several processes evaluate together. */
  | { readonly kind: "ranks"; readonly count: number; readonly library: string }
  | {
    readonly kind: "encoded";
    /** The file. */
    readonly path: string;
    /** Whether each row has a class, and there are no target tokens to count. */
    readonly classes: boolean;
    readonly report: PrepareReport;
  }
  /** A batch begins. */
  | { readonly kind: "batch"; readonly batch: number; readonly batches: number };

/** The result of an evaluation. */
export interface Evaluation extends EvaluationResult {
  /** The file with the evaluated data. */
  readonly dataPath: string;
  /** What the model is: a language model or a classifier. */
  readonly task: Task;
}

/**
 * Measures how well a model, or an adapter on it, predicts held-out data. Processes that an MPI launcher has
 * started take the batches in turn, and all get the whole result.
 *
 * @returns mean loss in nats per target token or row; perplexity, or accuracy and macro F1 from 0 to 1
 * @throws {ParameterError} for a setting that is unknown, missing or out of range
 * @throws {BadInputError} naming file and line, for a model, adapter or data that cannot be used, and if the
 *   loss is not finite
 * @throws {UsageError} if the model gives no scores, or the order of its classes is unknown
 * @throws {RuntimeFailure} if ONNX Runtime, or the MPI library of a job, is missing or failed
 * @throws {LostPeerError} if another process of a job is gone
 *
 * @example
 * ```ts
 * import { evaluate } from "./evaluate.ts";
 *
 * const { loss, perplexity } = await evaluate({
 *   model: "./model-int4",
 *   data: "./data",
 *   maxSeqLength: 64,
 * });
 * console.log(loss, perplexity);
 * ```
 */
export async function evaluate(
  input: EvaluateInput,
  { onEvent = () => {}, signal }: Watch<EvaluateEvent> = {},
): Promise<Evaluation> {
  const config = wholeConfig<EvaluateConfig>(EVALUATE_PARAMETERS, input);
  return await inJob(
    { timeout: config.collectiveTimeout, signal },
    (ranks) => evaluateOn(config, { onEvent, signal: ranks?.ending ?? signal }, ranks),
  );
}

/** What a process evaluates. */
export type EvaluationConfig = Omit<EvaluateConfig, keyof RanksConfig>;

/** {@linkcode evaluate} in a process whose place in a job, if it has one, is known. */
export async function evaluateOn(
  config: EvaluationConfig,
  { onEvent = () => {}, signal }: Watch<EvaluateEvent> = {},
  ranks?: Communicator,
): Promise<Evaluation> {
  if (ranks !== undefined) {
    onEvent({ kind: "ranks", count: ranks.count, library: ranks.library });
  }
  using opened = await openChosen(config, onEvent);
  using data = await loadEvaluationData(
    opened,
    config,
    (path, report, classes) => onEvent({ kind: "encoded", path, report, classes }),
  );
  using runner = openRunner(config, {
    modelBytes: opened.sizeBytes,
    onNote: (message) => onEvent({ kind: "runtime note", message }),
  });
  const { task, path } = data;
  const measure = await evaluatorFor(runner, config.threads, opened.model, task);
  if (ranks !== undefined) {
    const everyBatch = eachBatch(data.batches, () => {}, signal);
    const identity = { model: modelDigest(opened.model), data: await batchesDigest(everyBatch) };
    await compareRanks(ranks, identity, "evaluate");
    ranks.endPreparation();
  }
  const result = await measure(opened.model, eachBatch(data.batches, onEvent, signal), {
    objective: task,
    peers: ranks,
  });
  if (!Number.isFinite(result.loss)) {
    throw new BadInputError(
      `Cannot evaluate ${config.model}: the loss is ${result.loss} on ${path}: the model computes ` +
        "numbers that are not finite; its weights, or those of an adapter, may be damaged",
    );
  }
  return { ...result, dataPath: path, task };
}

/** All batches of a pass, each reported as it begins. */
async function* eachBatch(
  batches: Batches,
  onEvent: (event: EvaluateEvent) => void,
  signal: AbortSignal | undefined,
): AsyncGenerator<Batch> {
  const count = batches.batches(0);
  for (let i = 0; i < count; i++) {
    signal?.throwIfAborted();
    onEvent({ kind: "batch", batch: i + 1, batches: count });
    yield await batches.batch(0, i);
  }
}
