/** From text to token batches. Files are opened by `src/data/io` only. */
export { type Batch, Batches, collate, type CollateOptions } from "./batches.ts";
export { bucketFor, type Buckets, defaultBuckets } from "./buckets.ts";
export { type ChatTemplateFile, type RenderOptions } from "./chat_template.ts";
export { Dataset, type DatasetOptions, type PlacedRow } from "./dataset.ts";
export {
  type EncodedRow,
  type EncodeOptions,
  type EncodeResult,
  encodeRow,
  targetCount,
} from "./encode.ts";
export { GuardedText, type GuardOptions } from "./guarded.ts";
export { type LabelMap, labelsToTrain, sortLabels } from "./labels.ts";
export type { Message, Role } from "./messages.ts";
export { batchRows, type OrderOptions } from "./order.ts";
export { type Noted, type PrepareOptions, type PrepareReport, prepareRows } from "./prepare.ts";
export { randomFor, type RandomSource } from "./random.ts";
export type { ColumnNames, Row, RowKind, Task } from "./rows.ts";
export type { RandomAccess } from "./source.ts";
export { type Split, splitByGroup } from "./split.ts";
export { type DecodeMany, StreamDecoder } from "./stream_decoder.ts";
export type { TokenBatch } from "./targets.ts";
export { LocalText, type TextFiles, type TextProcessor } from "./text.ts";
export { type ByteStore, type EncodedRows, MemoryBytes, TokenStore } from "./token_store.ts";
export { Tokenizer, type TokenizerFiles, type TokenizerInfo } from "./tokenizer.ts";
