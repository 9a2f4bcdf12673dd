/** Turns an opened data set into batches of tokens. */
import { Batches } from "./batches.ts";
import { defaultBuckets } from "./buckets.ts";
import type { DataConfig } from "./data_config.ts";
import type { Dataset } from "./dataset.ts";
import type { Part } from "./deal_rows.ts";
import { TemporaryBytes } from "./io/file_source.ts";
import type { LabelMap } from "./labels.ts";
import type { OrderOptions } from "./order.ts";
import { type PrepareReport, prepareRows } from "./prepare.ts";
import type { TextProcessor } from "./text.ts";
import { MemoryBytes, TokenStore } from "./token_store.ts";

/** Data files from this size on leave their encoded rows on disk, not in memory. */
const ON_DISK_FROM_BYTES = 64 << 20;

/** What encoding must know about the model. */
export interface ModelText {
  /** Tokenizer and chat template. */
  readonly text: TextProcessor;
  /** Whether the model has an input `token_type_ids`. */
  readonly tokenTypeIds: boolean;
  /** Tokens of every sequence, if the model takes no other number. */
  readonly length?: number;
  /** Rows of the embedding, if known. */
  readonly vocabSize?: number;
}

/** Order of the rows over an epoch. */
export type RowOrder = OrderOptions["order"];

/** How a data set becomes batches. */
export interface EncodeBatchesOptions {
  /** Order of the rows over an epoch. */
  readonly order: RowOrder;
  /** Rows to take; default all. */
  readonly indices?: Uint32Array;
  /** What encoding must know about the model. */
  readonly model: ModelText;
  /** Longest sequence, loss mask, rows per batch, and the seed of the order. */
  readonly config: DataConfig & { readonly batchSize: number; readonly seed: number };
  /** Class names in the order of their ids, for classification. */
  readonly labels?: LabelMap;
  /** Called with the counts of what was encoded, cut and left out. */
  readonly onEncoded?: (report: PrepareReport) => void;
  /** The process whose rows of each batch to take; absent: all rows. */
  readonly part?: Part;
  /** Takes over files that the batches are read from. */
  readonly resources: DisposableStack;
}

/**
 * Encodes a data set and puts its rows into batches.
 *
 * @throws {BadInputError} for a row that cannot be encoded, or if no row has anything to learn
 * @throws {UsageError} for chats without a template
 */
export async function encodeBatches(
  dataset: Dataset,
  { order, indices, model, config, labels, part, onEncoded, resources }: EncodeBatchesOptions,
): Promise<Batches> {
  const large = dataset.source.sizeBytes >= ON_DISK_FROM_BYTES;
  const bytes = large ? resources.use(new TemporaryBytes()) : new MemoryBytes();
  const maxLength = model.length ?? maxLengthOf(config, model.text);
  const { rows, report } = await prepareRows(dataset, model.text, {
    maxLength,
    maskPrompt: config.maskPrompt,
    classes: labels && new Map(labels.map((name, id) => [name, id])),
    modelVocabSize: model.vocabSize,
    indices,
    store: new TokenStore(bytes),
  });
  onEncoded?.(report);
  return new Batches(rows, {
    batchSize: config.batchSize,
    order,
    seed: config.seed,
    padId: model.text.info.padId ?? 0,
    buckets: model.length === undefined ? defaultBuckets(maxLength) : [model.length],
    tokenTypeIds: model.tokenTypeIds,
    part,
  });
}

/** The smaller of what the user and the tokenizer's files allow. */
function maxLengthOf({ maxSeqLength }: DataConfig, text: TextProcessor): number {
  return Math.min(maxSeqLength, text.info.modelMaxLength ?? Infinity);
}
