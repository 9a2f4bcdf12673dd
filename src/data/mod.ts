/** From text to token batches. Files are opened by `src/data/io`; nothing here touches one. */
export { type Batch, Batches, collate, type CollateOptions } from "./batches.ts";
export { bucketFor, type Buckets, defaultBuckets } from "./buckets.ts";
export { type ChatTemplateFile, type RenderOptions } from "./chat_template.ts";
export { Dataset, type DatasetOptions, MAX_ROW_BYTES, type PlacedRow } from "./dataset.ts";
export {
  type EncodedRow,
  type EncodeOptions,
  type EncodeResult,
  encodeRow,
  targetCount,
} from "./encode.ts";
export { DEADLINE_MS, GuardedText, type GuardOptions } from "./guarded.ts";
export { type LabelMap, labelsToTrain, sortLabels } from "./labels.ts";
export { type Message, type Role, ROLES } from "./messages.ts";
export { batchRows, type OrderOptions } from "./order.ts";
export { type Noted, type PrepareOptions, type PrepareReport, prepareRows } from "./prepare.ts";
export { hash53, randomFor, type RandomSource, shuffle } from "./random.ts";
export type { ColumnNames, Row, RowKind, Task } from "./rows.ts";
export { memorySource, type RandomAccess } from "./source.ts";
export { type Split, splitByGroup } from "./split.ts";
export { type DecodeMany, StreamDecoder } from "./stream_decoder.ts";
export { IGNORED, type TokenBatch } from "./targets.ts";
export { LocalText, type TextFiles, type TextProcessor } from "./text.ts";
export {
  type ByteStore,
  chooseRows,
  type EncodedRows,
  MemoryBytes,
  TokenStore,
} from "./token_store.ts";
export { Tokenizer, type TokenizerFiles, type TokenizerInfo } from "./tokenizer.ts";
