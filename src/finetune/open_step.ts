/** A model opened to train in one arithmetic, with what its memory allows. */
import { quantizedConstantBytes } from "../graph/passes/quantize_constants.ts";
import { tokenizerSize } from "../model/tokenizer_files.ts";
import { type Arithmetic, changed, numericOf } from "../plan/arithmetic.ts";
import type { Runner } from "../runtime/runner.ts";
import { passControlHere } from "../train/left_out_passes.ts";
import { PlannedModel } from "../train/planned_model.ts";
import { keptByPart, type PlannedModelOptions } from "../train/planned_options.ts";
import { convertedBytes, frozenBytes } from "./adapted_model.ts";
import type { BaseModel } from "./base_model.ts";
import type { FineTuneConfig } from "./config.ts";
import type { DataAndAdapter } from "./data_and_adapter.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";
import { fitTraining, type TrainingFit } from "./fit_training.ts";
import type { OwnParts } from "./own_parts.ts";

/** What a step is made of. */
export interface StepSource {
  readonly base: BaseModel;
  readonly learned: DataAndAdapter;
  readonly runner: Runner;
  readonly config: FineTuneConfig;
  readonly own: OwnParts;
}

/** A model opened in one arithmetic. */
export interface OpenedStep {
  readonly arithmetic: Arithmetic;
  readonly fit: TrainingFit;
  readonly step: PlannedModel;
}

/** Options that are the same in every arithmetic. */
export function stepOptions(
  { learned: { data, adapted }, runner, config, own }: StepSource,
): PlannedModelOptions {
  return {
    runner,
    model: adapted.model,
    trainable: adapted.trained,
    objective: data.task,
    dropout: config.loraDropout,
    packing: own.packing,
    sharesPrefixes: own.sharesPrefixes,
    passControl: passControlHere(),
  };
}

/**
 * Opens the model in an arithmetic.
 *
 * @throws {RefusedError} if memory does not suffice
 */
export async function openStep(
  { base, learned: { data, adapted }, config, own }: StepSource,
  options: PlannedModelOptions,
  arithmetic: Arithmetic,
  onEvent: OnEvent<PreparationEvent>,
): Promise<OpenedStep> {
  const settings = { ...options, arithmetic };
  const adapterBytes = frozenBytes(adapted) + convertedBytes(adapted);
  const fit = await fitTraining(
    {
      options: settings,
      data,
      weightBytes: base.sizeBytes + quantizedConstantBytes(base.model.graph) + adapterBytes,
      tokenizerBytes: own.loadData ? 0 : tokenizerSize(base.folder),
      shards: own.shards,
      isRank: own.peers !== undefined,
    },
    { ...config, numeric: numericOf(arithmetic) },
    onEvent,
    own.peers,
  );
  const { keepBytes, readyWeights, shards } = fit;
  // Plans that keep another number of bytes were only tried.
  const kept = Array.from({ length: shards }, (_, i) => keptByPart(keepBytes, i + 1));
  options.plans?.keep((plan) => plan.keepBytes === undefined || kept.includes(plan.keepBytes));
  const step = new PlannedModel({
    ...{ ...settings, keepBytes, ownsInitialValues: true, shards },
    arithmetic: changed(arithmetic, { readyWeights }),
  });
  return { arithmetic, fit, step };
}
