/** The data of a training run: files found, split, encoded and put into batches. */
import {
  Batches,
  type ColumnNames,
  Dataset,
  defaultBuckets,
  type LabelMap,
  MemoryBytes,
  type Noted,
  prepareRows,
  splitByGroup,
  type Task,
  type TextProcessor,
  TokenStore,
} from "../data/mod.ts";
import { findData } from "../data/io/data_folder.ts";
import { FileSource, TemporaryBytes } from "../data/io/file_source.ts";
import { UsageError } from "../errors.ts";
import { formatCount } from "./format.ts";
import type { Terminal } from "./output.ts";
import type { TrainFlags } from "./train_flags.ts";

/** Data files from this size on leave their encoded rows on disk, not in memory. */
const ON_DISK_FROM_BYTES = 64 << 20;

/** What encoding must know of the model. */
export interface ModelText {
  readonly text: TextProcessor;
  /** Whether the model has an input `token_type_ids`. */
  readonly tokenTypeIds: boolean;
  /** Rows of the embedding, where known. */
  readonly vocabSize?: number;
}

export interface TrainData extends Disposable {
  readonly task: Task;
  /** Class names in the order of their ids, for classification. */
  readonly labels?: LabelMap;
  readonly train: Batches;
  readonly validation?: Batches;
  readonly test?: Batches;
  /** What a resume compares. */
  readonly identity: Readonly<Record<string, string>>;
}

function columnsOf(flags: TrainFlags): ColumnNames {
  return {
    messages: flags.chatFeature,
    prompt: flags.promptFeature,
    completion: flags.completionFeature,
    text: flags.textFeature,
    label: flags.labelColumn,
  };
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
  const paths = findData(flags.data);
  if (paths.train === undefined) {
    throw new UsageError(`${flags.data} has no train.jsonl or train.csv to train on`);
  }
  const open = async (path: string, task: Task | undefined) =>
    await Dataset.open(resources.use(FileSource.open(path)), { columns: columnsOf(flags), task });
  const train = await open(paths.train, flags.task === "auto" ? undefined : flags.task);
  const task = train.kind === "label" && flags.task !== "causal" ? "classification" : "causal";
  const labels = task === "classification" ? labelsFor(train.labels, paths.train) : undefined;

  const batches = async (
    dataset: Dataset,
    what: string,
    order: "shuffled" | "in-order" | "by-length",
    indices?: Uint32Array,
  ): Promise<Batches> => {
    const large = dataset.source.sizeBytes >= ON_DISK_FROM_BYTES;
    const bytes = large ? resources.use(new TemporaryBytes()) : new MemoryBytes();
    const { rows, report } = await prepareRows(dataset, model.text, {
      maxLength: maxLengthOf(flags, model.text),
      maskPrompt: flags.maskPrompt,
      classes: labels && new Map(labels.map((name, id) => [name, id])),
      modelVocabSize: model.vocabSize,
      indices,
      store: new TokenStore(bytes),
    });
    terminal.note(
      `${what}: ${formatCount(report.rows)} rows, ${formatCount(report.tokens)} tokens` +
        (task === "causal" ? `, ${formatCount(report.targets)} to learn` : ""),
    );
    tell(terminal, report.truncated, "were cut at --max-seq-length");
    tell(terminal, report.leftOut, "were left out: nothing in them is to be learned");
    tell(terminal, report.lastTurnOnly, "teach only their last turn: the template rewrites others");
    return new Batches(rows, {
      batchSize: flags.batchSize,
      order,
      seed: flags.seed,
      padId: model.text.info.padId ?? 0,
      buckets: defaultBuckets(maxLengthOf(flags, model.text)),
      tokenTypeIds: model.tokenTypeIds,
    });
  };

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

/** The smaller of what the user and the tokenizer's files allow. */
function maxLengthOf(flags: TrainFlags, text: TextProcessor): number {
  return Math.min(flags.maxSeqLength, text.info.modelMaxLength ?? Infinity);
}

function groupsOf(dataset: Dataset): Float64Array {
  return Float64Array.from({ length: dataset.count }, (_, i) => dataset.promptGroup(i));
}

function tell(terminal: Terminal, { count, first }: Noted, what: string): void {
  if (count > 0) terminal.note(`  ${formatCount(count)} rows ${what} (the first is ${first})`);
}
