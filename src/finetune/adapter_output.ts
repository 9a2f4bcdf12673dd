/** What a run writes into its adapter's folder: the adapter, and the losses on held-out data. */
import { batchesDigest } from "../data/batches_digest.ts";
import type { ReferenceLosses } from "../eval/evaluate.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import { saveAdapter } from "../model/adapter_dir.ts";
import { writeEvaluationRecord } from "../model/evaluation_record.ts";
import type { Runner } from "../runtime/runner.ts";
import { spreadBatches } from "../train/spread_batches.ts";
import { adapterOf } from "./adapted_model.ts";
import type { ChosenStep } from "./choose_step.ts";
import type { FineTuneConfig } from "./config.ts";
import { parentsOf } from "./continue_adapter.ts";
import type { DataAndAdapter } from "./data_and_adapter.ts";
import { configValues } from "./saved_config.ts";
import type { TrainingParts } from "./training_parts.ts";

/** The writers of a run's adapter. */
export function adapterOutput(
  learned: DataAndAdapter,
  chosen: ChosenStep,
  config: FineTuneConfig,
  runner: Runner,
): Pick<TrainingParts, "saveAdapter" | "saveEvaluation"> {
  const card = cardOf(learned, chosen, config);
  return {
    saveAdapter: (directory, parameters) =>
      saveAdapter(directory, adapterOf(learned.adapted, parameters, card)),
    saveEvaluation: (directory, found) => saveEvaluation(directory, found, learned, config, runner),
  };
}

/** What the adapter's files record of the run. */
function cardOf(
  { data, adapted, tokenizerDigest }: DataAndAdapter,
  { baseDigest, choice }: ChosenStep,
  config: FineTuneConfig,
): AdapterCard {
  return {
    baseDigest,
    tokenizerDigest,
    task: data.task,
    labels: data.labels,
    pooling: adapted.newHead ? config.pooling : undefined,
    dataDigest: data.identity.train_data,
    parents: parentsOf(config.resumeAdapterFile),
    config: configValues({ ...config, numeric: choice.setting }),
  };
}

/** The losses before the first step are the base's only if training started there. */
async function saveEvaluation(
  directory: string,
  found: ReferenceLosses | undefined,
  { data: { task, validation }, adapted }: DataAndAdapter,
  { valBatches }: FineTuneConfig,
  runner: Runner,
): Promise<void> {
  const isBase = adapted.atBase && task === "causal";
  if (found === undefined || !isBase || validation === undefined) return;
  const dataDigest = await batchesDigest(spreadBatches(validation, valBatches));
  writeEvaluationRecord(directory, { runtime: runner.description, dataDigest, ...found });
}
