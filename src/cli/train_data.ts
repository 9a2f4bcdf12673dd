/** The data of a training run: files found, split, encoded and put into batches. */
import { type Batches, Dataset, type LabelMap, splitByGroup, type Task } from "../data/mod.ts";
import { findData } from "../data/io/data_folder.ts";
import { FileSource } from "../data/io/file_source.ts";
import { columnsOf } from "../data/data_config.ts";
import { encodeBatches, type ModelText, type RowOrder } from "../data/encode_batches.ts";
import type { TokenBatch } from "../data/targets.ts";
import { UsageError } from "../errors.ts";
import { withCarried } from "../model/carried_model.ts";
import type { BatchSource } from "../train/step.ts";
import { noteEncoded } from "./encoded_note.ts";
import type { Terminal } from "./output.ts";
import type { TrainFlags } from "./train_flags.ts";

export interface TrainData extends Disposable {
  readonly task: Task;
  /** Class names in the order of their ids, for classification. */
  readonly labels?: LabelMap;
  readonly train: BatchSource<TokenBatch>;
  readonly validation?: BatchSource<TokenBatch>;
  readonly test?: BatchSource<TokenBatch>;
  /** What a resume compares. */
  readonly identity: Readonly<Record<string, string>>;
}

/**
 * Loads what `--data` names.
 *
 * @param labelsFor class names in the order of the ids that the model gives them, for the names that
 *   occur in the training data
 * @throws {BadInputError} naming file and line, for data that cannot be used
 * @throws {UsageError} where there is no training data
 */
export async function loadTrainData(
  flags: TrainFlags,
  model: ModelText,
  labelsFor: (found: ReadonlySet<string>, source: string) => LabelMap,
  terminal: Terminal,
): Promise<TrainData> {
  using resources = new DisposableStack();
  const paths = findData(withCarried(flags.data));
  if (paths.train === undefined) {
    throw new UsageError(`${flags.data} has no train.jsonl or train.csv to train on`);
  }
  const open = async (path: string, task: Task | undefined) =>
    await Dataset.open(resources.use(FileSource.open(path)), { columns: columnsOf(flags), task });
  const train = await open(paths.train, flags.task === "auto" ? undefined : flags.task);
  const task = train.kind === "label" && flags.task !== "causal" ? "classification" : "causal";
  const labels = task === "classification" ? labelsFor(train.labels, paths.train) : undefined;

  const batches = (
    dataset: Dataset,
    what: string,
    order: RowOrder,
    indices?: Uint32Array,
  ): Promise<Batches> =>
    encodeBatches(dataset, {
      ...{ order, indices, model, config: flags, labels, resources },
      onEncoded: (report) => noteEncoded(what, report, labels !== undefined, terminal),
    });

  const valid = paths.valid === undefined ? undefined : await open(paths.valid, task);
  const split = valid === undefined && flags.validationSplit > 0
    ? splitByGroup(groupsOf(train), flags.validationSplit, flags.seed, paths.train)
    : undefined;
  const order = flags.shuffle ? "shuffled" : "in-order";
  const trainBatches = await batches(train, "Training", order, split?.train);
  const validation = valid !== undefined
    ? await batches(valid, "Validation", "by-length")
    : split && await batches(train, "Validation", "by-length", split.valid);
  const test = flags.test && paths.test !== undefined
    ? await batches(await open(paths.test, task), "Test", "by-length")
    : undefined;
  const kept = resources.move();
  return {
    task,
    labels,
    train: trainBatches,
    validation,
    test,
    identity: {
      train_data: train.digest,
      valid_data: valid?.digest ?? String(flags.validationSplit),
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

function groupsOf(dataset: Dataset): Float64Array {
  return Float64Array.from({ length: dataset.count }, (_, i) => dataset.promptGroup(i));
}
