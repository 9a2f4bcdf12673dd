/** The data of a fine-tuning run and the adapter that learns it. */
import type { Part } from "../data/deal_rows.ts";
import { GuardedText } from "../data/mod.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { type LinearModule, otherProducts } from "../lora/mod.ts";
import { parseLoraStart } from "../lora/start.ts";
import { countParameters } from "../model/count_parameters.ts";
import { readModelLabels } from "../model/model_labels.ts";
import { textInputsOf } from "../model/text_inputs.ts";
import { readTextFiles } from "../model/tokenizer_files.ts";
import { withVirtualTokens } from "../model/virtual_text.ts";
import type { VirtualTokensConfig } from "../lora/virtual_tokens/config.ts";
import type { AdaptedModel } from "./adapted_model.ts";
import { targetsOf } from "./adapter_targets.ts";
import { addAdapter } from "./add_adapter.ts";
import type { BaseModel } from "./base_model.ts";
import type { FineTuneConfig } from "./config.ts";
import { adaptFurther, virtualTokensOf } from "./continue_adapter.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";
import { HeldEvents } from "./held_events.ts";
import { checkScoresTokens, labelsFor, vocabularyOf } from "./model_outputs.ts";
import type { Peers } from "../train/peers.ts";
import { loadTrainingData, type TrainingData } from "./training_data.ts";

/** Encoded data, and the tokenizer that encoded it. */
export interface LoadedData {
  readonly data: TrainingData;
  readonly tokenizerDigest: string;
}

/** The data, and the model with the adapter that learns it; disposing of it closes the data. */
export interface DataAndAdapter extends LoadedData, Disposable {
  readonly adapted: AdaptedModel;
}

/**
 * Reads the data and injects a new adapter, or the one to continue from, into the model.
 *
 * @param own other data than the configuration names, and processes with which its rows are shared
 * @throws {BadInputError | UsageError} for targets, data or an adapter that do not fit the model
 */
export async function openDataAndAdapter(
  base: BaseModel,
  config: FineTuneConfig,
  onEvent: OnEvent<PreparationEvent>,
  { loadData, peers }: {
    readonly loadData?: (model: Model) => LoadedData;
    readonly peers?: Peers;
  } = {},
): Promise<DataAndAdapter> {
  const { model } = base;
  const { resumeAdapterFile: before } = config;
  // A target that does not exist is reported before hours of data are encoded.
  const targets = before === undefined ? targetsOf(model, config) : undefined;
  // The trainable share is reported first.
  using later = new HeldEvents(onEvent);
  if (targets !== undefined) reportOthers(model, targets.modules, later.hold);
  const virtual = before === undefined ? targets?.virtual?.config : virtualTokensOf(before);
  const loaded = loadData?.(model) ??
    await encodeData(base, config, virtual, later.hold, peers?.share);
  const { data } = loaded;
  using resources = new DisposableStack();
  resources.use(data);
  if (data.task === "causal") checkScoresTokens(model, config.data);
  if (targets !== undefined && parseLoraStart(config.initLoraWeights).from !== "random") {
    onEvent({ kind: "start from weights", layers: targets.sites.length });
  }
  const adapted = before === undefined
    ? addAdapter(model, config, data.labels, targets)
    : adaptFurther(model, before, config, data.labels, later.hold);
  onEvent(parametersOf(model, adapted));
  later.release();
  const kept = resources.move();
  return { ...loaded, adapted, [Symbol.dispose]: () => kept.dispose() };
}

/**
 * Reads and encodes the data. The tokenizer's tables can take more memory than a small model's weights: they
 * are freed before anything is compiled.
 */
async function encodeData(
  { model, folder }: BaseModel,
  config: FineTuneConfig,
  virtual: VirtualTokensConfig | undefined,
  onEvent: OnEvent<PreparationEvent>,
  part: Part | undefined,
): Promise<LoadedData> {
  using own = await GuardedText.start(readTextFiles(folder));
  const text = withVirtualTokens(own, model, virtual);
  const data = await loadTrainingData(
    config,
    { text, ...textInputsOf(model.graph), vocabSize: vocabularyOf(model) },
    (found, source) => labelsFor(model, readModelLabels(folder), found, source),
    onEvent,
    part,
  );
  return { data, tokenizerDigest: text.info.digest };
}

/** Reports layers that graft does not recognise as such: they are not adapted. */
function reportOthers(
  model: Model,
  modules: readonly LinearModule[],
  onEvent: OnEvent<PreparationEvent>,
): void {
  const others = otherProducts(model, modules);
  if (others.length === 0) return;
  onEvent({ kind: "other products", count: others.length, first: others[0].name });
}

/** The trainable share. */
function parametersOf(base: Model, { model, trained }: AdaptedModel): PreparationEvent {
  const trainable = [...trained].reduce(
    (sum, name) => sum + elementCount(model.graph.initializers.get(name)!.dims),
    0,
  );
  return { kind: "parameters", trainable, all: countParameters(base) + trainable };
}
