/** The data a merge is steered and judged by: the adapter's own, unless another is named. */
import { findData } from "../data/io/data_folder.ts";
import { GuardedText } from "../data/mod.ts";
import { BadInputError, UsageError } from "../errors.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneConfig } from "../finetune/mod.ts";
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
import { resolveParameters } from "../config/resolve.ts";
import { textInputsOf } from "../model/text_inputs.ts";
import { messageOf } from "./exit.ts";
import type { Terminal } from "./output.ts";
import { notePreparation } from "./preparation_notes.ts";

/** What the command line says about data. */
export interface MergeDataFlags {
  /** Data to use instead of what the adapter was trained on. */
  readonly data?: string;
  /** Held-out batches to evaluate on; negative for all. */
  readonly valBatches: number;
  /** Training tokens whose activations steer the rounding. */
  readonly calibrationTokens: number;
}

/** Merge data and what it holds open. */
export interface OpenMergeData extends Disposable {
  readonly data: MergeData;
  /** The training data in the batches that it was trained in. */
  readonly training: BatchSource<TokenBatch>;
}

/**
 * Loads the data that the adapter's settings (or `--data`) name.
 *
 * @returns `undefined`, and a note, where there is none: a merge goes without, unmeasured
 * @throws {BadInputError | UsageError} for data that `--data` names and that cannot be used
 */
export async function loadMergeData(
  flags: MergeDataFlags,
  modelFile: string,
  model: Model,
  card: AdapterCard | undefined,
  terminal: Terminal,
): Promise<OpenMergeData | undefined> {
  if (flags.data === undefined && card?.config.data === undefined) {
    terminal.note("No data is named, so nothing is measured: --data gives a data folder");
    return undefined;
  }
  try {
    const settings = settingsOf(flags, modelFile, card);
    return await open(flags, settings, modelFile, model, card, terminal);
  } catch (error) {
    const own = flags.data === undefined;
    if (!own || !(error instanceof BadInputError || error instanceof UsageError)) throw error;
    terminal.note(`The adapter's training data cannot be read: ${messageOf(error)}`);
    terminal.note("So nothing is measured: --data names where the data is now");
    return undefined;
  }
}

/** The settings of the training run, with the data of the command line. */
function settingsOf(
  { data }: MergeDataFlags,
  modelFile: string,
  card: AdapterCard | undefined,
): FineTuneConfig {
  // JSON is YAML; settings of a newer or older graft are checked like a user's file.
  const saved = card === undefined
    ? {}
    : parseConfig(JSON.stringify(card.config), FINE_TUNE_PARAMETERS, "graft.json");
  const task = card === undefined ? {} : { task: card.task };
  const path = data ?? saved.data;
  const given = { ...saved, ...task, data: path, model: modelFile, test: hasTestOnly(path) };
  return resolveParameters(FINE_TUNE_PARAMETERS, given) as unknown as FineTuneConfig;
}

/** Whether a data folder has held-out rows in a test part alone. */
function hasTestOnly(path: unknown): boolean {
  if (typeof path !== "string") return false;
  const { valid, test } = findData(withCarried(path));
  return valid === undefined && test !== undefined;
}

async function open(
  { valBatches, calibrationTokens }: MergeDataFlags,
  settings: FineTuneConfig,
  modelFile: string,
  model: Model,
  card: AdapterCard | undefined,
  terminal: Terminal,
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
      (event) => notePreparation(event, terminal),
    ),
  );
  const { task, train, validation, test } = loaded;
  const heldOut = validation ?? test;
  if (heldOut === undefined) {
    terminal.note("There is no held-out data: the training data stands in for it");
  }
  const measured = heldOut ?? train;
  const all = measured.batches(0);
  if (valBatches >= 0 && valBatches < all) {
    terminal.note(`Of it ${valBatches} of ${all} batches are measured (--val-batches -1: all)`);
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
