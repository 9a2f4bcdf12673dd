/** The data that a merge is calibrated and judged by: the adapter's own, unless another is named. */
import { findData } from "../data/io/data_folder.ts";
import { GuardedText } from "../data/mod.ts";
import { BadInputError, type GraftError, UsageError } from "../errors.ts";
import {
  FINE_TUNE_PARAMETERS,
  type FineTuneConfig,
  type PreparationEvent,
} from "../finetune/mod.ts";
import { labelsFor } from "../finetune/model_outputs.ts";
import { loadTrainingData } from "../finetune/training_data.ts";
import type { Model } from "../graph/types.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import type { MergeData } from "../model/merge_request.ts";
import { withCarried } from "../model/carried_model.ts";
import { homeOf } from "../model/find_model.ts";
import { readModelLabels } from "../model/model_labels.ts";
import { readTextFiles } from "../model/tokenizer_files.ts";
import type { TokenBatch } from "../data/targets.ts";
import { spreadBatches, spreadCount } from "../train/spread_batches.ts";
import type { BatchSource } from "../train/step.ts";
import { parseConfig } from "../config/file.ts";
import { wholeConfig } from "../config/given.ts";
import { textInputsOf } from "../model/text_inputs.ts";

/** Which data a merge uses, and how much of it. */
export interface MergeDataChoice {
  /** Data to use instead of what the adapter was trained on. */
  readonly data?: string;
  /** Held-out batches to evaluate on; negative for all. */
  readonly valBatches: number;
  /** Training tokens whose activations guide the rounding. */
  readonly calibrationTokens: number;
}

/** The data of a merge and what stays open to read it. */
export interface OpenMergeData extends Disposable {
  readonly data: MergeData;
  /** The training data in the same batches as in training. */
  readonly training: BatchSource<TokenBatch>;
}

/** What loading the data of a merge reports. */
export type MergeDataEvent =
  | (PreparationEvent & { readonly kind: "encoded" })
  /** No data is named: nothing is measured. */
  | { readonly kind: "no data" }
  /** The adapter's training data cannot be read: nothing is measured. */
  | { readonly kind: "data unreadable"; readonly error: GraftError }
  /** There is no held-out data: the training data stands in for it. */
  | { readonly kind: "no held-out data" }
  /** Only some batches of the held-out data are measured. */
  | { readonly kind: "some batches"; readonly measured: number; readonly batches: number };

/**
 * Loads the data that the adapter's settings (or `data`) name.
 *
 * @returns `undefined`, after an event, if there is none: the merge is then not measured
 * @throws {BadInputError | UsageError} for data that `data` names and that cannot be used
 */
export async function loadMergeData(
  choice: MergeDataChoice,
  modelFile: string,
  model: Model,
  card: AdapterCard | undefined,
  onEvent: (event: MergeDataEvent) => void,
): Promise<OpenMergeData | undefined> {
  if (choice.data === undefined && card?.config.data === undefined) {
    onEvent({ kind: "no data" });
    return undefined;
  }
  try {
    const settings = settingsOf(choice, modelFile, card);
    return await open(choice, settings, modelFile, model, card, onEvent);
  } catch (error) {
    const own = choice.data === undefined;
    if (!own || !(error instanceof BadInputError || error instanceof UsageError)) throw error;
    onEvent({ kind: "data unreadable", error });
    return undefined;
  }
}

/** The settings of the training run, with the chosen data. */
function settingsOf(
  { data }: MergeDataChoice,
  modelFile: string,
  card: AdapterCard | undefined,
): FineTuneConfig {
  // JSON is YAML; settings of a newer or older graft are checked like a user's file.
  const saved: Partial<FineTuneConfig> = card === undefined
    ? {}
    : parseConfig(JSON.stringify(card.config), FINE_TUNE_PARAMETERS, "graft.json");
  const task = card === undefined ? {} : { task: card.task };
  const path = data ?? saved.data;
  const given = { ...saved, ...task, data: path, model: modelFile, test: hasTestOnly(path) };
  return wholeConfig<FineTuneConfig>(FINE_TUNE_PARAMETERS, given);
}

/** Whether a data folder has held-out rows only in a test part. */
function hasTestOnly(path: unknown): boolean {
  if (typeof path !== "string") return false;
  const { valid, test } = findData(withCarried(path));
  return valid === undefined && test !== undefined;
}

async function open(
  { valBatches, calibrationTokens }: MergeDataChoice,
  settings: FineTuneConfig,
  modelFile: string,
  model: Model,
  card: AdapterCard | undefined,
  onEvent: (event: MergeDataEvent) => void,
): Promise<OpenMergeData> {
  using resources = new DisposableStack();
  const folder = homeOf(modelFile);
  // Its process ends when the data is encoded.
  using text = await GuardedText.start(readTextFiles(folder));
  const loaded = resources.use(
    await loadTrainingData(
      settings,
      { text, ...textInputsOf(model.graph) },
      (found, source) => card?.labels ?? labelsFor(model, readModelLabels(folder), found, source),
      onEvent,
    ),
  );
  const { task, train, validation, test } = loaded;
  const heldOut = validation ?? test;
  if (heldOut === undefined) {
    onEvent({ kind: "no held-out data" });
  }
  const measured = heldOut ?? train;
  const all = measured.batches(0);
  if (valBatches >= 0 && valBatches < all) {
    onEvent({ kind: "some batches", measured: valBatches, batches: all });
  }
  const kept = resources.move();
  return {
    data: {
      objective: task,
      train: { batches: () => spreadBatches(train, -1), maxTokens: calibrationTokens },
      heldOut: () => spreadBatches(measured, valBatches),
      heldOutBatches: spreadCount(measured, valBatches),
      source: { data: settings.data, trainedOn: heldOut === undefined },
    },
    training: train,
    [Symbol.dispose]: () => kept.dispose(),
  };
}
