/** The numeric setting: how gradients are computed, checked on the first batches before it is used. */
import type { TrainingForms } from "../kernels/training_forms.ts";
import { cutBatch, sliceBatch } from "../data/slice_batch.ts";
import { type RowCut, together } from "../data/row_cuts.ts";
import type { TokenBatch } from "../data/targets.ts";
import { RefusedError } from "../errors.ts";
import { isPaired, unpairedForm } from "../ops/internal/integer_form.ts";
import {
  type Arithmetic,
  changed,
  inFloats,
  isRotated,
  isSliced,
  type Products,
} from "../plan/arithmetic.ts";
import type { Numeric } from "../plan/names.ts";
import { besideFloats, checkedPart, checkFast, type FastCheck } from "../train/check_fast.ts";
import { checkSliced } from "../train/check_sliced.ts";
import { quickerSetting, timeSettings } from "../train/quicker_setting.ts";
import type { PlannedModel } from "../train/planned_model.ts";
import type { NumericEvent, OnEvent } from "./events.ts";

/** The numeric setting of a run. */
export interface NumericChoice {
  readonly setting: Numeric;
  /** The evidence for or against `fast`, if it was asked for. */
  readonly check?: FastCheck;
  /** The setting whose steps were quicker, if that was measured now or by an earlier run. */
  readonly quicker?: Numeric;
}

/** A model that is ready to train. */
export interface Opened {
  /** What it was opened for; memory has then decided which weights are made ready. */
  readonly arithmetic: Arithmetic;
  /** How many sequences it computes at once. */
  readonly fit: { readonly sequences: number };
  readonly step: PlannedModel;
}

/** What is known before a setting is chosen. */
export interface Known extends Pick<TrainingForms, "integerLead" | "quicker"> {
  /** How `exact` computes on this device. */
  readonly exact: Arithmetic;
  /** Which sequences run together; default all. */
  readonly cut?: RowCut;
  /** Batches after the first one, for a setting that the first does not decide about; default none. */
  readonly later?: readonly TokenBatch[];
}

/**
 * Lead of integer products from which on steps in `fast` are quicker without being measured: the other
 * operators of a step, and rounding, take less time than the products save.
 */
const CLEAR_LEAD = 1.8;

/**
 * Keeps the model as it was opened if its gradient is that of `exact` in floats. If not, a model in `fast`
 * whose weights are paired is tried with others, one that reads 8-bit weights as they are stored with rotated
 * ones, then in `exact`, and last in floats. Each is opened again, since each needs different memory. A model
 * that is not kept is disposed of.
 *
 * @param open opens the model for another arithmetic; throws a {@linkcode RefusedError} if memory does not
 * suffice
 */
export async function chooseNumeric<O extends Opened>(
  first: O,
  open: (arithmetic: Arithmetic) => Promise<O>,
  batch: TokenBatch,
  onEvent: OnEvent<NumericEvent>,
  known: Known,
): Promise<{ readonly opened: O; readonly choice: NumericChoice }> {
  const { cut = together, quicker, later = [] } = known;
  const batches = [batch, ...later];
  const { arithmetic } = first;
  const { products } = arithmetic;
  if (products.in !== "8-bit integers") {
    const opened = await inSlicesOrFloats(first, open, batch, onEvent, cut);
    return { opened, choice: { setting: "exact", quicker } };
  }
  let check = await checked(first, batches, onEvent, cut);
  if (check.passed) return await inQuicker(first, open, batch, onEvent, { ...known, check });
  const { readsStored } = first.step.trainingPlanOf(rowsAtOnce(first, batch));
  first.step[Symbol.dispose]();
  const form = unpairedForm(products.form);
  const finer: Products[] = [
    ...(isPaired(products.form) ? [{ ...products, form }] : []),
    ...(!products.rotated && readsStored ? [{ ...products, form, rotated: true }] : []),
  ];
  for (const products of finer) {
    const next = await openWhereItFits(open, changed(arithmetic, { products }));
    if (next === undefined) continue;
    check = await checked(next, batches, onEvent, cut);
    if (check.passed) return await inQuicker(next, open, batch, onEvent, { ...known, check });
    next.step[Symbol.dispose]();
  }
  onEvent({ kind: "fast failed", check });
  const exact = await open(known.exact);
  const opened = await inSlicesOrFloats(exact, open, batch, onEvent, cut);
  return { opened, choice: { setting: "exact", check } };
}

/** `fast`, whose gradient is right, or `exact` if whole steps are quicker in it. */
async function inQuicker<O extends Opened>(
  fast: O,
  open: (arithmetic: Arithmetic) => Promise<O>,
  batch: TokenBatch,
  onEvent: OnEvent<NumericEvent>,
  { cut = together, integerLead = Infinity, quicker, exact: exactly, check }: Known & {
    readonly check: FastCheck;
  },
): Promise<{ readonly opened: O; readonly choice: NumericChoice }> {
  if (quicker !== undefined || integerLead >= CLEAR_LEAD) {
    return { opened: fast, choice: { setting: "fast", check, quicker } };
  }
  const times = await timeSettings(
    fast.step,
    besideFloats(fast.step.arithmetic),
    cut(checkedPart(rowsAtOnce(fast, batch))),
  );
  const found = quickerSetting(times);
  if (found === "fast") {
    return { opened: fast, choice: { setting: "fast", check, quicker: found } };
  }
  onEvent({ kind: "exact is quicker", times });
  fast.step[Symbol.dispose]();
  const exact = await open(exactly);
  const opened = await inSlicesOrFloats(exact, open, batch, onEvent, cut);
  return { opened, choice: { setting: "exact", check, quicker: found } };
}

/** The setting `exact`, in floats alone if products in integers have another gradient. */
async function inSlicesOrFloats<O extends Opened>(
  exact: O,
  open: (arithmetic: Arithmetic) => Promise<O>,
  batch: TokenBatch,
  onEvent: OnEvent<NumericEvent>,
  cut: RowCut,
): Promise<O> {
  const { arithmetic, step } = exact;
  if (!isSliced(arithmetic)) return exact;
  const floats = inFloats(arithmetic);
  const { readsStored } = step.trainingPlanOf(rowsAtOnce(exact, batch));
  if (!readsStored) {
    return { ...exact, arithmetic: floats, step: step.inArithmetic(inFloats(step.arithmetic)) };
  }
  const { relativeError, passed } = await checkSliced(
    step,
    step.arithmetic,
    rowsAtOnce(exact, batch),
    cut,
  );
  onEvent({ kind: passed ? "slices passed" : "slices failed", relativeError });
  if (passed) return exact;
  step[Symbol.dispose]();
  return await open(floats);
}

/** Compares the gradients, and reports the result if the run may go on. */
async function checked(
  { step, arithmetic, fit }: Opened,
  batches: readonly TokenBatch[],
  onEvent: OnEvent<NumericEvent>,
  cut: RowCut,
): Promise<FastCheck> {
  const both = besideFloats(step.arithmetic);
  const atOnce = batches.flatMap((batch) => cutBatch(batch, fit.sequences));
  const check = await checkFast(step, both, atOnce, cut);
  if (check.passed) onEvent({ kind: "fast passed", rotated: isRotated(arithmetic), check });
  return check;
}

/** The rows of a batch that a step computes at once. */
export const rowsAtOnce = ({ fit }: Pick<Opened, "fit">, batch: TokenBatch): TokenBatch =>
  sliceBatch(batch, 0, fit.sequences);

async function openWhereItFits<O>(
  open: (arithmetic: Arithmetic) => Promise<O>,
  arithmetic: Arithmetic,
): Promise<O | undefined> {
  try {
    return await open(arithmetic);
  } catch (error) {
    if (error instanceof RefusedError) return undefined;
    throw error;
  }
}
