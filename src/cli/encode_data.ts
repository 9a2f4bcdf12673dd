/** From an opened data set to batches, as the flags ask and with what was lost told to the user. */
import {
  Batches,
  type ColumnNames,
  type Dataset,
  defaultBuckets,
  type LabelMap,
  MemoryBytes,
  type Noted,
  type OrderOptions,
  prepareRows,
  type TextProcessor,
  TokenStore,
} from "../data/mod.ts";
import type { Graph } from "../graph/types.ts";
import { fixedShape } from "../plan/inputs.ts";
import { TemporaryBytes } from "../data/io/file_source.ts";
import type { DataFlags } from "./data_flags.ts";
import { formatCount } from "./format.ts";
import type { Terminal } from "./output.ts";

/** Data files from this size on leave their encoded rows on disk, not in memory. */
const ON_DISK_FROM_BYTES = 64 << 20;

/** What encoding must know of the model. */
export interface ModelText {
  readonly text: TextProcessor;
  /** Whether the model has an input `token_type_ids`. */
  readonly tokenTypeIds: boolean;
  /** Tokens of every sequence, where the model takes no other number. */
  readonly length?: number;
  /** Rows of the embedding, where known. */
  readonly vocabSize?: number;
}

/** What of it the graph tells. */
export function inputsOf(graph: Graph): Pick<ModelText, "tokenTypeIds" | "length"> {
  return {
    tokenTypeIds: graph.inputs.some(({ name }) => name === "token_type_ids"),
    length: fixedShape(graph).length,
  };
}

export type RowOrder = OrderOptions["order"];

export interface EncodeDataOptions {
  /** What the rows are for, at the beginning of a line: "Training". */
  readonly what: string;
  readonly order: RowOrder;
  /** Rows to take; default all. */
  readonly indices?: Uint32Array;
  readonly model: ModelText;
  readonly flags: DataFlags & { readonly batchSize: number; readonly seed: number };
  /** Class names in the order of their ids, for classification. */
  readonly labels?: LabelMap;
  readonly terminal: Terminal;
  /** Takes over files that the batches are read from. */
  readonly resources: DisposableStack;
}

/** The columns that the user named. */
export function columnsOf(flags: DataFlags): ColumnNames {
  return {
    messages: flags.chatFeature,
    prompt: flags.promptFeature,
    completion: flags.completionFeature,
    text: flags.textFeature,
    label: flags.labelColumn,
  };
}

/**
 * Encodes a data set and tells the user how much of it there is.
 *
 * @throws {BadInputError} for a row that cannot be encoded, or where no row has anything to learn
 */
export async function encodeBatches(
  dataset: Dataset,
  { what, order, indices, model, flags, labels, terminal, resources }: EncodeDataOptions,
): Promise<Batches> {
  const large = dataset.source.sizeBytes >= ON_DISK_FROM_BYTES;
  const bytes = large ? resources.use(new TemporaryBytes()) : new MemoryBytes();
  const maxLength = model.length ?? maxLengthOf(flags, model.text);
  const { rows, report } = await prepareRows(dataset, model.text, {
    maxLength,
    maskPrompt: flags.maskPrompt,
    classes: labels && new Map(labels.map((name, id) => [name, id])),
    modelVocabSize: model.vocabSize,
    indices,
    store: new TokenStore(bytes),
  });
  terminal.note(
    `${what}: ${formatCount(report.rows)} rows, ${formatCount(report.tokens)} tokens` +
      (labels === undefined ? `, ${formatCount(report.targets)} of them targets` : ""),
  );
  tell(terminal, report.truncated, "were cut at --max-seq-length");
  tell(terminal, report.leftOut, "were left out: nothing in them is to be learned");
  tell(terminal, report.lastTurnOnly, "teach only their last turn: the template rewrites others");
  return new Batches(rows, {
    batchSize: flags.batchSize,
    order,
    seed: flags.seed,
    padId: model.text.info.padId ?? 0,
    buckets: model.length === undefined ? defaultBuckets(maxLength) : [model.length],
    tokenTypeIds: model.tokenTypeIds,
  });
}

/** The smaller of what the user and the tokenizer's files allow. */
function maxLengthOf(flags: DataFlags, text: TextProcessor): number {
  return Math.min(flags.maxSeqLength, text.info.modelMaxLength ?? Infinity);
}

function tell(terminal: Terminal, { count, first }: Noted, what: string): void {
  if (count > 0) terminal.note(`  ${formatCount(count)} rows ${what} (the first is ${first})`);
}
