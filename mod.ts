/**
 * graft as a library: train low-rank adapters over frozen, quantised ONNX models on stock ONNX
 * Runtime, merge them into the graph, run the result. `docs/library.md` begins with a whole run.
 *
 * Everything that works on files takes one object of settings, named as the command line's flags; what
 * is absent takes its default. Work that takes long reports events to `onEvent` and ends by an
 * `AbortSignal`. Errors that a caller can act on derive from {@linkcode GraftError}.
 *
 * @example Embeds a sentence with the model that graft carries
 * ```ts
 * import { InferenceModel } from "./mod.ts";
 *
 * using model = await InferenceModel.open({ model: "default" });
 * const { vector } = await model.embed("the hall light is on");
 * if (vector.length !== 384) throw new Error(`${vector.length} numbers`);
 * ```
 *
 * @example Reads the rows of a data set
 * ```ts
 * import { Dataset, FileSource, findData } from "./mod.ts";
 *
 * const { train, test } = findData("models/quickstart");
 * using source = FileSource.open(train!);
 * const rows = await Dataset.open(source);
 * console.log(rows.count, rows.kind, rows.labels.size, await rows.row(0), test);
 * ```
 *
 * @example Adds a new adapter to a graph
 * ```ts
 * import { DEFAULT_LORA, findModules, initAdapter, inject, loadOnnx } from "./mod.ts";
 * import { Random, reachOf, resolveTargets } from "./mod.ts";
 *
 * using base = loadOnnx("models/all-minilm-l6-v2-int8/model.onnx");
 * const config = { ...DEFAULT_LORA, targetModules: ["q", "v"] };
 * const sites = resolveTargets(findModules(base.model), config, reachOf(base.model));
 * const weights = initAdapter(sites, config.init, Random.fromSeed(0));
 * const { model, trainable } = inject(base.model, sites, weights);
 * console.log(sites.length, trainable.size, model.graph.nodes.length);
 * ```
 *
 * @module
 */

// Errors: each names what is wrong and what to do
export * from "./src/errors.ts";
export { VERSION } from "./src/version.ts";

// Settings of all work, its events and its end
export type { Given } from "./src/config/given.ts";
export type { Watch } from "./src/tasks/watch.ts";
export type { AdapterNote } from "./src/model/adapter_note.ts";
export type { RuntimeNote } from "./src/runtime/runtime_note.ts";

// Models and adapters: pull them, find them by name
export { pull, type PullResult } from "./src/tasks/pull.ts";
export type { PullConfig, PullInput } from "./src/tasks/pull_config.ts";
export type { PulledFromHub, PullHubEvent } from "./src/tasks/pull_hub.ts";
export type { PulledLocally } from "./src/tasks/pull_local.ts";
export type { Pulled, PullPlan } from "./src/hub/pull.ts";
export type { Selection } from "./src/hub/select.ts";
export type { Variant } from "./src/hub/variants.ts";
export type { RepositoryFile } from "./src/hub/api.ts";
export type { FileDigest } from "./src/hub/digests.ts";
export { findNamed, type Named, type NamedKind, removeNamed } from "./src/hub/named.ts";
export { type Installed, installedIn } from "./src/hub/installed.ts";
export { hubCache, type Variable } from "./src/hub/settings.ts";
export type { RepositoryFolder } from "./src/hub/cache.ts";
export { type AdapterEntry, AdapterStore, type StoredAdapter } from "./src/hub/adapter_store.ts";
export type { AdapterFacts, AdapterRecord } from "./src/hub/adapter_record.ts";
export { saveAdapterAs } from "./src/model/store_adapter.ts";

// Models: inspect, quantise
export {
  inspect,
  type InspectConfig,
  type InspectedModel,
  type InspectInput,
  inspectPlan,
} from "./src/tasks/inspect.ts";
export type { InspectedPlan, Inspection, Port, TargetGroup } from "./src/model/inspect.ts";
export type {
  DescribedCall,
  DescribedPass,
  DescribedTensor,
  LeftTensor,
  PlanDescription,
  PlannedShape,
  ReadTensor,
} from "./src/plan/describe_plan.ts";
export type { ListedPass } from "./src/plan/planning_passes.ts";
export type { PredictedMemory } from "./src/plan/memory.ts";
export {
  quantize,
  type QuantizeConfig,
  type QuantizeEvent,
  type QuantizeInput,
} from "./src/tasks/quantize.ts";
export type { QuantizeResult } from "./src/model/quantize_directory.ts";
export type { QuantizeReport } from "./src/quant/quantize_model.ts";

// Data sets
export { Dataset, type DatasetOptions, type PlacedRow } from "./src/data/dataset.ts";
export { FileSource } from "./src/data/io/file_source.ts";
export { type DataPaths, findData } from "./src/data/io/data_folder.ts";
export type { RandomAccess } from "./src/data/source.ts";
export type { RawRecord } from "./src/data/records.ts";
export type { JsonObject } from "./src/data/json.ts";
export type {
  ColumnNames,
  CompletionRow,
  LabelRow,
  MessagesRow,
  Row,
  RowKind,
  Task,
  TextRow,
} from "./src/data/rows.ts";
export type { Message as ChatMessage, Role } from "./src/data/messages.ts";
export { type Split, splitByGroup } from "./src/data/split.ts";
export type { LabelMap } from "./src/data/labels.ts";
export { columnsOf, type DataConfig } from "./src/data/data_config.ts";

// Text to tokens, and tokens to batches
export { GuardedText, type GuardOptions } from "./src/data/guarded.ts";
export { readTextFiles } from "./src/model/tokenizer_files.ts";
export type {
  DecodeOptions as TextDecodeOptions,
  TextFiles,
  TextProcessor,
} from "./src/data/text.ts";
export type { EncodeTextOptions, TokenizerFiles, TokenizerInfo } from "./src/data/tokenizer.ts";
export type { SpecialTokens, TokenRole } from "./src/data/special_tokens.ts";
export type { ChatTemplateFile, RenderOptions } from "./src/data/chat_template.ts";
export type {
  EncodedRow,
  EncodeOptions as EncodeRowOptions,
  EncodeResult,
} from "./src/data/encode.ts";
export {
  encodeBatches,
  type EncodeBatchesOptions,
  type ModelText,
  type RowOrder,
} from "./src/data/encode_batches.ts";
export type { Noted, PrepareReport } from "./src/data/prepare.ts";
export type { EncodedRows } from "./src/data/token_store.ts";
export type { Part } from "./src/data/deal_rows.ts";
export type { OrderOptions } from "./src/data/order.ts";
export { type Batch, Batches, type CollateOptions } from "./src/data/batches.ts";
export type { Buckets } from "./src/data/buckets.ts";
export type { TokenBatch } from "./src/data/targets.ts";

// Training
export {
  type BeyondFree,
  type ChangedSetting,
  type DataPart,
  fineTune,
  type FineTuneAdapter,
  type FineTuneConfig,
  type FineTuneData,
  type FineTuneEvent,
  type FineTuneInput,
  type FineTuneOptions,
  type FineTuneOutput,
  type FineTunePauses,
  type FineTuneRanks,
  type FineTuneResult,
  type FineTuneSteps,
  type NumericEvent,
  type OnEvent,
  type PrefixCacheEvent,
  type PreparationEvent,
  resolveConfig,
  resumedConfig,
  type RunEvent,
  type TestMetrics,
  Trainer,
} from "./src/finetune/mod.ts";
export type { MemoryBudget } from "./src/finetune/memory_budget.ts";
export type { EvaluationReport, SkipReport, StepReport, TrainOutcome } from "./src/train/events.ts";
export type { Best } from "./src/train/state.ts";
export type { Batch as TrainingBatch, BatchLoss, BatchSource } from "./src/train/step.ts";
export type { FastCheck } from "./src/train/check_fast.ts";
export type { SettingTimes } from "./src/train/quicker_setting.ts";
export { SCHEDULE_NAMES, type ScheduleName } from "./src/train/learning_rate.ts";
export { OPTIMIZER_NAMES, type OptimizerName } from "./src/train/update_rules.ts";
export { INTEGER_FORMS, type IntegerForm } from "./src/ops/internal/integer_form.ts";
export type { Numeric } from "./src/plan/names.ts";

// Which rank, and which modules
export { rankSearch, type RankSearchEvent } from "./src/tasks/rank_search.ts";
export type {
  DecidedBySearch,
  RankSearchConfig,
  RankSearchInput,
  TrialConfig,
} from "./src/tasks/rank_search/settings.ts";
export type {
  RankSearchResult,
  Recommendation,
  SearchedCandidate,
} from "./src/tasks/rank_search/result.ts";
export type { TrialEvent } from "./src/tasks/rank_search/trials.ts";
export type { TrialRecord } from "./src/tasks/rank_search/trial_journal.ts";
export type { CandidateKind } from "./src/search/candidate.ts";
export type { Difference } from "./src/search/paired_difference.ts";
export { type Metric, SEARCH_METRICS, type SearchMetric } from "./src/search/metric.ts";

// Evaluation
export type { RanksConfig } from "./src/distributed/job.ts";
export {
  evaluate,
  type EvaluateConfig,
  type EvaluateEvent,
  type EvaluateInput,
  type Evaluation,
} from "./src/tasks/evaluate.ts";
export type { EvaluationResult } from "./src/eval/evaluate.ts";
export type { RowCut } from "./src/data/row_cuts.ts";

// Merging, and the certificate of what a merge keeps
export { merge, type MergeConfig, type MergeEvent, type MergeInput } from "./src/tasks/merge.ts";
export {
  composeAdapters,
  type ComposeConfig,
  type Composed,
  type ComposeEvent,
  type ComposeInput,
} from "./src/tasks/compose.ts";
export {
  COMBINATION_TYPES,
  type CombinationType,
  type MajoritySignMethod,
} from "./src/lora/compose/combination.ts";
export type { MeasuredRank, MeasuredRanks, MeasureEvent } from "./src/tasks/measure_ranks.ts";
export type { RankShare } from "./src/lora/compose/rank_shares.ts";
export {
  analyze,
  type AnalyzeConfig,
  type AnalyzeEvent,
  type AnalyzeInput,
} from "./src/tasks/analyze.ts";
export { saveAnalysis, type SavedReport } from "./src/tasks/save_analysis.ts";
export type {
  AnalysedAdapter,
  Analysis,
  Directions,
  LayerDrift,
  MatrixAnalysis,
  PairAnalysis,
  Spectrum,
  StepDrift,
  UpdateAnalysis,
} from "./src/analysis/analysis.ts";
export type { UpdateComparison } from "./src/analysis/compare_updates.ts";
export {
  exportAdapters,
  type ExportConfig,
  type Exported,
  type ExportInput,
} from "./src/tasks/export.ts";
export type { MeasuringConfig } from "./src/tasks/measuring.ts";
export type { MergeDataEvent } from "./src/tasks/merge_data.ts";
export type { MergeReport } from "./src/model/merge_progress.ts";
export {
  certificateJson,
  type Decision,
  formatCertificate,
  type MeasuredOn,
} from "./src/lora/merge/certificate_report.ts";
export type { Candidate, Evaluated, Latency, Measurements } from "./src/lora/merge/certificate.ts";
export type { MatrixReport } from "./src/lora/merge/matrix.ts";
export type { MergeMethod } from "./src/lora/merge/plan.ts";

// Answers: generated text, classes, vectors
export {
  type AnswerOptions,
  type Classification,
  type Embedding,
  type InferenceConfig,
  type InferenceEvent,
  type InferenceInput,
  InferenceModel,
  type InferenceSurroundings,
  type ReadText,
  type RequestAdapter,
} from "./src/tasks/inference_model.ts";
export type { AdapterMatrices } from "./src/serve/adapter_inputs.ts";
export type { SwitchedAdapter, WeightedAdapter } from "./src/lora/switched.ts";
export type { TokenGrammar } from "./src/data/guarded_grammars.ts";
export type { GeneratedText, TextOptions } from "./src/serve/text_generator.ts";
export type {
  FinishReason,
  Generated,
  GenerateOptions,
  GenerationStage,
  NextTokenGrammar,
  OnText,
} from "./src/serve/generate.ts";
export type { ScoredToken, TokenScores } from "./src/serve/log_probabilities.ts";
export type { SamplingOptions } from "./src/serve/sampler.ts";
export type { TurnOptions } from "./src/serve/takes_turns.ts";
export type { ScoredClass } from "./src/serve/top_classes.ts";
export type { ModelKind } from "./src/model/model_kind.ts";

// Adapters as files
export { loadAdapter, type LoadedAdapter, saveAdapter } from "./src/model/adapter_dir.ts";
export type { Adapter } from "./src/lora/adapter_files.ts";
export type { AdapterTensors, SavedModule } from "./src/lora/adapter_tensors.ts";
export type {
  BottleneckConfig,
  BottleneckPart,
  NonLinearity,
  Placement,
} from "./src/lora/bottleneck/config.ts";
export { BOTTLENECK_PARTS, NON_LINEARITIES, PLACEMENTS } from "./src/lora/bottleneck/config.ts";
export type { BottleneckWeights } from "./src/lora/bottleneck/weights.ts";
export {
  VIRTUAL_METHODS,
  type VirtualMethod,
  type VirtualTokensConfig,
} from "./src/lora/virtual_tokens/config.ts";
export { type Method, METHODS } from "./src/lora/peft_type.ts";
export {
  BIASES,
  type TrainedBiases,
  VECTOR_METHODS,
  type VectorMethod,
} from "./src/lora/vectors/methods.ts";
export type { TrainedVectors } from "./src/lora/vectors/train.ts";
export type { VectorPart } from "./src/lora/trainable.ts";
export type { AdapterCard, AdapterTask } from "./src/lora/adapter_card.ts";
export {
  ADAPTER_TYPES,
  type AdapterType,
  type PeftConfig,
  type TaskType,
} from "./src/lora/peft_config.ts";

// Adapters as edits of a graph
export { applyAdapter, checkBase } from "./src/lora/apply.ts";
export * from "./src/lora/mod.ts";
export { Random } from "./src/random.ts";
export type { HeadOptions, TokenStates } from "./src/lora/head.ts";
export type { IntegerBias, LinearForm } from "./src/lora/linear_form.ts";
export type { Reach } from "./src/lora/reach.ts";
export type { Split as SharedSplit } from "./src/lora/split_shared.ts";

// Graphs and their files
export { type LoadedModel, loadOnnx } from "./src/model/load_onnx.ts";
export type { OpenFile } from "./src/model/external_data.ts";
export type {
  Attribute,
  Dim,
  Graph,
  Model,
  Node,
  Opsets,
  ValueInfo,
  ValueType,
} from "./src/graph/types.ts";
export type { DataType } from "./src/graph/dtype.ts";
export { type Codebook, CODEBOOKS } from "./src/graph/codebook.ts";
export type { CodeType } from "./src/graph/codes.ts";
export type { Rounding } from "./src/graph/quantize_linear.ts";
export { float32, int64, type Tensor, toNumbers } from "./src/graph/tensor.ts";
export {
  decodeModel,
  type DecodeOptions,
  type EncodedWithData,
  encodeModel,
  encodeModelWithExternalData,
  type EncodeOptions,
  type ExternalChoice,
  type ExternalLayout,
  type ExternalRef,
} from "./src/onnx/mod.ts";
export {
  decodeSafetensors,
  encodeSafetensors,
  type Safetensors,
  type SafetensorsOptions,
} from "./src/safetensors/mod.ts";

// Differentiation
export { type Attributes, GraphBuilder, type Known } from "./src/graph/builder.ts";
export type { Extent, Size } from "./src/graph/size.ts";
export { pullback } from "./src/autodiff/pullback.ts";

// ONNX Runtime
export { openRunner, type RunnerPurpose, type RuntimeOptions } from "./src/runtime/open_runner.ts";
export type {
  BoundRun,
  BoundRunOptions,
  CompileOptions,
  DeviceTensor,
  EarlierResult,
  Executable,
  ExecutableMetadata,
  ListedResult,
  ListedRun,
  OnListedRun,
  ProfileTrace,
  Runner,
  RunOptions,
} from "./src/runtime/runner.ts";
