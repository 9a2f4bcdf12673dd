/** Flags of what a merge measures, and the parts of a merge that they decide. */
import { batchesDigest } from "../data/batches_digest.ts";
import type { Model } from "../graph/types.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import { MIN_GAIN_KEPT } from "../lora/merge/mod.ts";
import { readEvaluationRecord } from "../model/evaluation_record.ts";
import type { MergeData, MergeRequest } from "../model/merge_request.ts";
import type { Runner } from "../runtime/runner.ts";
import { UsageError } from "../errors.ts";
import { evaluatorFor } from "../tasks/evaluator.ts";
import { boolean, integer, number, text, type Values } from "./flags.ts";
import { loadMergeData } from "./merge_data.ts";
import type { Terminal } from "./output.ts";
import { scaleTuner } from "../tasks/scale_tuner.ts";

const MEASURING = "Measuring";

/** What to measure a merge with, and how long. */
export const MEASURING_FLAGS = {
  data: text("Data to steer and measure with; what the adapter was trained on if absent", {
    placeholder: "PATH",
    group: MEASURING,
  }),
  minGainKept: number(
    "Share of the adapter's gain on held-out data to aim at; refused below 0.9",
    {
      default: MIN_GAIN_KEPT,
      max: 1,
      group: MEASURING,
    },
  ),
  valBatches: integer("Held-out batches to evaluate on, at least 1; -1 for all", {
    default: 25,
    min: -1,
    group: MEASURING,
  }),
  calibrationTokens: integer("Training tokens whose activations steer compensated rounding", {
    default: 4096,
    min: 1,
    group: MEASURING,
  }),
  tuneSteps: integer("Updates of the scales in a round of tuning, of at most 3; 0 tunes none", {
    default: 12,
    min: 0,
    group: MEASURING,
  }),
  timeBudget: number(
    "Seconds after which no other way is tried, once there is one to write; 0 for no limit",
    { default: 0, min: 0, group: MEASURING },
  ),
  latency: boolean("Time the merged model against the base", { default: true, group: MEASURING }),
};

/** The parts of a request that are about measuring, and what they hold open. */
export interface Measuring extends Disposable {
  readonly request: Pick<
    MergeRequest,
    "data" | "evaluate" | "tune" | "minGainKept" | "timeBudget" | "latency"
  >;
}

/** What a merge knows of an adapter's training. */
export interface MeasuredAdapter {
  readonly card: AdapterCard | undefined;
  /** Where the losses that its training found may be; absent where they are not those of the merge. */
  readonly folder?: string;
}

/**
 * Opens the data and what measures and tunes with it; without data nothing is measured.
 *
 * @param adapter whose data is used where none is named
 * @throws {UsageError | BadInputError} for data that the flags name and that cannot be used
 */
export async function openMeasuring(
  flags: Values<typeof MEASURING_FLAGS> & { readonly threads?: number },
  runner: Runner,
  base: { readonly path: string; readonly model: Model; readonly sizeBytes: number },
  { card, folder }: MeasuredAdapter,
  terminal: Terminal,
): Promise<Measuring> {
  if (flags.valBatches === 0) {
    throw new UsageError("--val-batches must be >= 1, or -1 for all: current value is 0");
  }
  using resources = new DisposableStack();
  const opened = await loadMergeData(flags, base.path, base.model, card, terminal);
  if (opened !== undefined) resources.use(opened);
  const evaluate = opened &&
    await evaluatorFor(runner, flags.threads, base.model, opened.data.objective);
  const tune = opened && flags.tuneSteps > 0
    ? scaleTuner(runner, flags.threads, flags.tuneSteps, {
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
      minGainKept: flags.minGainKept,
      timeBudget: flags.timeBudget || undefined,
      latency: flags.latency,
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
