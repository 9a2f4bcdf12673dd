/** What a merge is measured and tuned with: data, an evaluator, a tuner of scales. */
import type { ParametersOf } from "../config/parameter.ts";
import { batchesDigest } from "../data/batches_digest.ts";
import { ParameterError } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import { MIN_GAIN_KEPT } from "../lora/merge/mod.ts";
import { readEvaluationRecord } from "../model/evaluation_record.ts";
import type { MergeData, MergeRequest } from "../model/merge_request.ts";
import type { Runner } from "../runtime/runner.ts";
import { evaluatorFor } from "./evaluator.ts";
import { loadMergeData, type MergeDataEvent } from "./merge_data.ts";
import { scaleTuner } from "./scale_tuner.ts";

/** How thoroughly a merge is measured, and with what. */
export interface MeasuringConfig {
  /** Data to calibrate and measure with; default: what the adapter was trained on. */
  readonly data?: string;
  /**
   * Share of the adapter's gain on held-out data to aim at, at most 1; default 0.995. A merge that keeps less
   * than 0.9 is refused.
   */
  readonly minGainKept: number;
  /** Held-out batches to evaluate on, at least 1, or -1 for all; default 25. */
  readonly valBatches: number;
  /** Training tokens whose activations guide compensated rounding, at least 1; default 4096. */
  readonly calibrationTokens: number;
  /** Updates of the scales per round of tuning, of at most 3 rounds; 0 tunes none; default 12. */
  readonly tuneSteps: number;
  /** Seconds after which no other method is tried, once one result can be written; default 0: no limit. */
  readonly timeBudget: number;
  /** Whether the merged model is timed against the base; default true. */
  readonly latency: boolean;
}

/** The parameters of a {@linkcode MeasuringConfig}. */
export const MEASURING_PARAMETERS = {
  data: { kind: "text" },
  minGainKept: { kind: "number", default: MIN_GAIN_KEPT, max: 1 },
  valBatches: { kind: "integer", default: 25, min: -1 },
  calibrationTokens: { kind: "integer", default: 4096, min: 1 },
  tuneSteps: { kind: "integer", default: 12, min: 0 },
  timeBudget: { kind: "number", default: 0, min: 0 },
  latency: { kind: "boolean", default: true },
} as const satisfies ParametersOf<MeasuringConfig>;

/** The parts of a request that concern measuring, and what they keep open. */
export interface Measuring extends Disposable {
  readonly request: Pick<
    MergeRequest,
    "data" | "evaluate" | "tune" | "minGainKept" | "timeBudget" | "latency"
  >;
}

/** What a merge knows about an adapter's training. */
export interface MeasuredAdapter {
  readonly card: AdapterCard | undefined;
  /**
   * Folder that may hold the losses that training found; absent if they are not comparable with the merge's.
   */
  readonly folder?: string;
}

/**
 * Opens the data and what measures and tunes with it; without data nothing is measured.
 *
 * @param adapter whose data is used if none is named
 * @throws {ParameterError | UsageError | BadInputError} for data that the configuration names and that
 *   cannot be used
 */
export async function openMeasuring(
  config: MeasuringConfig & { readonly threads?: number },
  runner: Runner,
  base: { readonly path: string; readonly model: Model; readonly sizeBytes: number },
  { card, folder }: MeasuredAdapter,
  onEvent: (event: MergeDataEvent) => void,
): Promise<Measuring> {
  if (config.valBatches === 0) {
    throw new ParameterError(
      "valBatches",
      (name) => `${name("valBatches")} must be >= 1, or -1 for all: current value is 0`,
    );
  }
  using resources = new DisposableStack();
  const opened = await loadMergeData(config, base.path, base.model, card, onEvent);
  if (opened !== undefined) resources.use(opened);
  const evaluate = opened &&
    await evaluatorFor(runner, config.threads, base.model, opened.data.objective);
  const tune = opened && config.tuneSteps > 0
    ? scaleTuner(runner, config.threads, config.tuneSteps, {
      task: opened.data.objective,
      batches: opened.training,
      modelBytes: base.sizeBytes,
    })
    : undefined;
  const known = opened && folder !== undefined
    ? await knownLosses(runner, opened.data, folder)
    : undefined;
  const kept = resources.move();
  return {
    request: {
      data: opened && { ...opened.data, known },
      evaluate,
      tune,
      minGainKept: config.minGainKept,
      timeBudget: config.timeBudget || undefined,
      latency: config.latency,
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** Losses that training has found on the same held-out data. */
async function knownLosses(
  runner: Runner,
  data: MergeData,
  folder: string,
): Promise<MergeData["known"]> {
  const record = readEvaluationRecord(folder);
  if (record?.runtime !== runner.description || data.objective !== "causal") return undefined;
  return record.dataDigest === await batchesDigest(data.heldOut()) ? record : undefined;
}
