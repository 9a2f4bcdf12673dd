/** The model that trains: its arithmetic, memory and forms chosen and checked on the first batch. */
import type { RowCut } from "../data/row_cuts.ts";
import { sliceBatch } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { quantizedConstantBytes } from "../graph/passes/quantize_constants.ts";
import type { TrainingForms } from "../kernels/training_forms.ts";
import { modelDigest } from "../lora/digest.ts";
import { tokenizerSize } from "../model/tokenizer_files.ts";
import { type Arithmetic, changed, isRotated, isSliced, numericOf } from "../plan/arithmetic.ts";
import { openProcessor } from "../runtime/open_runner.ts";
import type { Runner } from "../runtime/runner.ts";
import { chooseArithmetic } from "../train/choose_arithmetic.ts";
import { passControlHere } from "../train/left_out_passes.ts";
import { PlannedModel } from "../train/planned_model.ts";
import type { PlannedModelOptions } from "../train/planned_options.ts";
import type { BaseModel } from "./base_model.ts";
import { checkForward } from "./check_forward.ts";
import { checkProvider } from "./check_provider.ts";
import { chooseNumeric, type NumericChoice } from "./choose_numeric.ts";
import type { FineTuneConfig } from "./config.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";
import { fitTraining, type TrainingFit } from "./fit_training.ts";
import type { DataAndAdapter } from "./data_and_adapter.ts";
import type { OwnParts } from "./own_parts.ts";
import { runForms } from "./run_forms.ts";

/** What a step is made of. */
export interface StepSource {
  readonly base: BaseModel;
  readonly learned: DataAndAdapter;
  readonly runner: Runner;
  readonly config: FineTuneConfig;
  readonly own: OwnParts;
}

/** A model ready to train; disposing of it is its receiver's. */
export interface ChosenStep {
  readonly step: PlannedModel;
  readonly fit: TrainingFit;
  readonly choice: NumericChoice;
  /** The forms in use. */
  readonly forms: TrainingForms;
  /** Which sequences run together. */
  readonly cut: RowCut;
  readonly baseDigest: string;
}

/** A model opened in one arithmetic. */
interface OpenedStep {
  readonly arithmetic: Arithmetic;
  readonly fit: TrainingFit;
  readonly step: PlannedModel;
}

/**
 * Opens the model as the configuration and the device suggest, compares it with the user's graph,
 * and changes its arithmetic where the first batch's gradient asks for it.
 *
 * @throws {RefusedError} where it does not compute what the user's graph does, or memory does not
 * suffice
 */
export async function chooseStep(
  source: StepSource,
  onEvent: OnEvent<PreparationEvent>,
): Promise<ChosenStep> {
  const { base, learned: { data, adapted }, runner, config } = source;
  const forms = await runForms(config, runner, base.model, onEvent);
  const options = stepOptions(source);
  const open = (arithmetic: Arithmetic) => openStep(source, options, arithmetic, onEvent);
  const exact = await exactArithmetic(source, forms);
  const first = await open(await fastArithmetic(source, forms) ?? exact);
  using untilChosen = new DisposableStack();
  untilChosen.use(first.step);
  const batch = await data.train.batch(0, 0);
  const cut = await checkForward(runner, adapted.model, first.step, batch, onEvent);
  if (runner.providers.length > 0) {
    using processor = openProcessor(config);
    const rows = sliceBatch(batch, 0, first.fit.sequences);
    await checkProvider(first.step, options, processor, rows, onEvent, cut);
  }
  // Reads all weights: before those of `fast` are made, so that both are never there at once.
  const baseDigest = modelDigest(base.model);
  const { opened, choice } = await chooseNumeric(first, open, batch, onEvent, {
    ...forms,
    ...{ exact, cut },
  });
  untilChosen.move();
  const { step, fit, arithmetic } = opened;
  const used = {
    ...forms,
    ...{ rotated: isRotated(arithmetic), sliced: isSliced(arithmetic), quicker: choice.quicker },
  };
  return { step, fit, choice, forms: used, cut, baseDigest };
}

/** What is the same in every arithmetic. */
function stepOptions(
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

/** How `exact` computes on this device. */
function exactArithmetic(
  { config, runner }: StepSource,
  forms: TrainingForms,
): Promise<Arithmetic> {
  const sliced = forms.sliced === true && config.train && runner.inPlace;
  return chooseArithmetic(runner, { ...forms, numeric: "exact", sliced });
}

/** How `fast` does, where it was asked for and no earlier run has found `exact` quicker. */
async function fastArithmetic(
  { config, runner }: StepSource,
  forms: TrainingForms,
): Promise<Arithmetic | undefined> {
  if (!config.train || config.numeric !== "fast" || forms.quicker === "exact") return undefined;
  return await chooseArithmetic(runner, { ...forms, numeric: "fast" });
}

/** @throws {RefusedError} where memory does not suffice */
async function openStep(
  { base, learned: { data }, config, own }: StepSource,
  options: PlannedModelOptions,
  arithmetic: Arithmetic,
  onEvent: OnEvent<PreparationEvent>,
): Promise<OpenedStep> {
  const settings = { ...options, arithmetic };
  const fit = await fitTraining(
    {
      options: settings,
      data,
      weightBytes: base.sizeBytes + quantizedConstantBytes(base.model.graph),
      tokenizerBytes: own.loadData ? 0 : tokenizerSize(base.folder),
      shards: own.shards,
    },
    { ...config, numeric: numericOf(arithmetic) },
    onEvent,
  );
  const { keepBytes, readyWeights, shards } = fit;
  const step = new PlannedModel({
    ...{ ...settings, keepBytes, ownsInitialValues: true, shards },
    arithmetic: changed(arithmetic, { readyWeights }),
  });
  return { arithmetic, fit, step };
}

/** The rows of a batch that a step computes at once. */
export const rowsAtOnce = ({ fit }: ChosenStep, batch: TokenBatch): TokenBatch =>
  sliceBatch(batch, 0, fit.sequences);
