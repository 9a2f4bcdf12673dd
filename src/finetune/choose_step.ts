/** The model that trains: its arithmetic, memory and forms chosen and checked on the first batch. */
import type { RowCut } from "../data/row_cuts.ts";
import type { TrainingForms } from "../kernels/training_forms.ts";
import { modelDigest } from "../lora/digest.ts";
import { type Arithmetic, formOfProducts, isRotated, isSliced } from "../plan/arithmetic.ts";
import { openProcessor } from "../runtime/open_runner.ts";
import { forgetMapped } from "../system/mapped_file.ts";
import { DECIDING_SEQUENCES } from "../train/check_fast.ts";
import { firstBatches } from "../train/first_batch.ts";
import { chooseArithmetic } from "../train/choose_arithmetic.ts";
import { PlanFamilies } from "../train/plan_families.ts";
import type { PlannedModel } from "../train/planned_model.ts";
import { checkForward } from "./check_forward.ts";
import { checkProvider } from "./check_provider.ts";
import { chooseNumeric, type NumericChoice, rowsAtOnce } from "./choose_numeric.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";
import type { TrainingFit } from "./fit_training.ts";
import { openStep, stepOptions, type StepSource } from "./open_step.ts";
import { withStage } from "./pipeline_stage.ts";
import { runForms } from "./run_forms.ts";

/** A model ready to train; whoever receives it disposes of it. */
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

/**
 * Opens the model as the configuration and the device suggest, compares it with the user's graph, and changes
 * its arithmetic if the first batch's gradient requires it.
 *
 * @throws {RefusedError} if it does not compute what the user's graph does, or memory does not suffice
 */
export async function chooseStep(
  source: StepSource,
  onEvent: OnEvent<PreparationEvent>,
): Promise<ChosenStep> {
  const { base, learned: { data, adapted }, runner, config, own } = source;
  const forms = await runForms(config, runner, base.model, onEvent);
  const [batch, ...later] = await firstBatches(data.train, DECIDING_SEQUENCES);
  const settings = withStage(stepOptions(source), batch, own.peers?.pipeline);
  const options = { ...settings, plans: new PlanFamilies(settings.model) };
  const open = (arithmetic: Arithmetic) => openStep(source, options, arithmetic, onEvent);
  const exact = await exactArithmetic(source, forms);
  const first = await open(await fastArithmetic(source, forms) ?? exact);
  using untilChosen = new DisposableStack();
  untilChosen.use(first.step);
  const cut = await checkForward(runner, adapted.model, first.step, batch, onEvent, own.peers);
  if (runner.providers.length > 0) {
    using processor = openProcessor(config);
    const rows = rowsAtOnce(first, batch);
    await checkProvider(first.step, options, processor, rows, onEvent, cut);
  }
  // Reads all weights: done before those of `fast` are made, so that both are never in memory at once.
  // Other stages' weights are not read again.
  const forgets = options.stage !== undefined;
  const baseDigest = modelDigest(base.model, forgets ? forgetMapped : undefined);
  const { opened, choice } = await chooseNumeric(first, open, batch, onEvent, {
    ...forms,
    ...{ exact, cut, later },
  });
  untilChosen.move();
  const { step, fit, arithmetic } = opened;
  const used = {
    ...forms,
    // Rounding to paired weights may have failed.
    ...(choice.setting === "fast" ? { integerForm: formOfProducts(arithmetic) } : {}),
    ...{ rotated: isRotated(arithmetic), sliced: isSliced(arithmetic), quicker: choice.quicker },
  };
  return { step, fit, choice, forms: used, cut, baseDigest };
}

/** How `exact` computes on this device. */
function exactArithmetic(
  { config, runner, own }: StepSource,
  forms: TrainingForms,
): Promise<Arithmetic> {
  const whole = own.peers?.pipeline === undefined;
  const sliced = forms.sliced === true && config.train && runner.inPlace && whole;
  return chooseArithmetic(runner, { ...forms, numeric: "exact", sliced });
}

/** How `fast` computes, if it was asked for and no earlier run has found `exact` quicker. */
async function fastArithmetic(
  { config, runner }: StepSource,
  forms: TrainingForms,
): Promise<Arithmetic | undefined> {
  if (!config.train || config.numeric !== "fast" || forms.quicker === "exact") return undefined;
  return await chooseArithmetic(runner, { ...forms, numeric: "fast" });
}
