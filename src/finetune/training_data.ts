/** The data of a training run: files found, split, encoded and batched. */
import { columnsOf } from "../data/data_config.ts";
import type { Part } from "../data/deal_rows.ts";
import { encodeBatches, type ModelText, type RowOrder } from "../data/encode_batches.ts";
import { findData } from "../data/io/data_folder.ts";
import { FileSource } from "../data/io/file_source.ts";
import { Dataset, type LabelMap, splitByGroup, type Task } from "../data/mod.ts";
import type { TokenBatch } from "../data/targets.ts";
import { ParameterError } from "../errors.ts";
import { withCarried } from "../model/carried_model.ts";
import type { BatchSource } from "../train/step.ts";
import type { FineTuneConfig, FineTuneData } from "./config.ts";
import type { DataPart, OnEvent, PreparationEvent } from "./events.ts";

/** Batches for training, validation and test, and what stays open to read them. */
export interface TrainingData extends Disposable {
  readonly task: Task;
  /** Class names in the order of their ids, for classification. */
  readonly labels?: LabelMap;
  readonly train: BatchSource<TokenBatch>;
  readonly validation?: BatchSource<TokenBatch>;
  readonly test?: BatchSource<TokenBatch>;
  /** What a resume compares. */
  readonly identity: Readonly<Record<string, string>>;
}

/** The parameters that decide the batches. */
export type DataChoice =
  & FineTuneData
  & Pick<FineTuneConfig, "batchSize" | "seed" | "test">;

/**
 * Loads what `data` names.
 *
 * @param labelsFor class names in the order of the ids that the model gives them, for the names that
 *   occur in the training data
 * @param part the process whose rows of each batch to take; default all rows
 * @throws {BadInputError} naming file and line, for data that cannot be used
 * @throws {ParameterError} if there is no training data
 */
export async function loadTrainingData(
  config: DataChoice,
  model: ModelText,
  labelsFor: (found: ReadonlySet<string>, source: string) => LabelMap,
  onEvent: OnEvent<PreparationEvent & { readonly kind: "encoded" }>,
  part?: Part,
): Promise<TrainingData> {
  using resources = new DisposableStack();
  const { trainPath, validPath, testPath } = partsOf(config);
  const open = async (path: string, task: Task | undefined) => {
    const source = resources.use(FileSource.open(path));
    return await Dataset.open(source, { columns: columnsOf(config), task });
  };
  const train = await open(trainPath, config.task === "auto" ? undefined : config.task);
  const task = train.kind === "label" && config.task !== "causal" ? "classification" : "causal";
  const labels = task === "classification" ? labelsFor(train.labels, trainPath) : undefined;
  const encode = (which: DataPart, dataset: Dataset, order: RowOrder, indices?: Uint32Array) =>
    encodeBatches(dataset, {
      ...{ order, indices, model, config, labels, part, resources },
      onEncoded: (report) =>
        onEvent({ kind: "encoded", part: which, classes: labels !== undefined, report }),
    });

  const valid = validPath === undefined ? undefined : await open(validPath, task);
  const split = valid === undefined ? splitOf(train, config, trainPath) : undefined;
  const order = config.shuffle ? "shuffled" : "in-order";
  const trainBatches = await encode("training", train, order, split?.train);
  const validation = valid !== undefined
    ? await encode("validation", valid, "by-length")
    : split && await encode("validation", train, "by-length", split.valid);
  const test = config.test && testPath !== undefined
    ? await encode("test", await open(testPath, task), "by-length")
    : undefined;
  const validDigest = valid?.digest ?? String(config.validationSplit);
  const kept = resources.move();
  return {
    ...{ task, labels, train: trainBatches, validation, test },
    identity: { train_data: train.digest, valid_data: validDigest },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

function partsOf({ data }: DataChoice) {
  const { train, valid, test } = findData(withCarried(data));
  if (train === undefined) {
    throw new ParameterError("data", `${data} has no train.jsonl or train.csv to train on`);
  }
  return { trainPath: train, validPath: valid, testPath: test };
}

/** Rows to train on and to validate on, if a share is held out. */
function splitOf(train: Dataset, { validationSplit, seed }: DataChoice, path: string) {
  if (validationSplit === 0) return undefined;
  const groups = Float64Array.from({ length: train.count }, (_, i) => train.promptGroup(i));
  return splitByGroup(groups, validationSplit, seed, path);
}
