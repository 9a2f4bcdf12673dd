/** `--numeric`: the setting asked for, checked on the first batch before it is used. */
import { sliceBatch } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { RefusedError } from "../errors.ts";
import type { Numeric } from "../plan/names.ts";
import { checkFast, FAST_THRESHOLD, type FastCheck } from "../train/check_fast.ts";
import type { PlannedModel } from "../train/planned_model.ts";
import { formatShare } from "./format.ts";
import { paint, type Terminal } from "./output.ts";

/** The numeric setting of a run. */
export interface NumericChoice {
  readonly setting: Numeric;
  /** What speaks for or against `fast`, where it was asked for. */
  readonly check?: FastCheck;
}

/** How a run's gradients are computed. */
export interface Arithmetic {
  readonly numeric: Numeric;
  /** Whether `fast` rotates weights of 8 bits, too (see `PlanSettings`). */
  readonly rotated: boolean;
}

/** A model that is ready to train. */
export interface Opened {
  readonly arithmetic: Arithmetic;
  /** How many sequences it computes at once. */
  readonly fit: { readonly sequences: number };
  readonly step: PlannedModel;
}

/**
 * Goes on with the model as it was opened where its gradient is that of `exact`. Where it is not, and
 * reads weights of 8 bits as they lie, tries rotated ones, and in the end `exact`: each opened anew, as
 * each needs other memory. A model that is not gone on with is disposed of.
 *
 * @param open opens the model to compute otherwise; throws a {@linkcode RefusedError} where memory
 * does not suffice
 */
export async function chooseNumeric<O extends Opened>(
  first: O,
  open: (arithmetic: Arithmetic) => Promise<O>,
  batch: TokenBatch,
  terminal: Terminal,
): Promise<{ readonly opened: O; readonly choice: NumericChoice }> {
  const { numeric, rotated } = first.arithmetic;
  if (numeric === "exact") return { opened: first, choice: { setting: "exact" } };
  let check = await checked(first, batch, terminal);
  if (check.passed) return { opened: first, choice: { setting: "fast", check } };
  const use = { passes: ["training"], numeric: "fast" } as const;
  const { readsStored } = first.step.planOf(rowsAtOnce(first, batch), use);
  first.step[Symbol.dispose]();
  const second = !rotated && readsStored
    ? await openWhereItFits(open, { numeric: "fast", rotated: true })
    : undefined;
  if (second !== undefined) {
    check = await checked(second, batch, terminal);
    if (check.passed) return { opened: second, choice: { setting: "fast", check } };
    second.step[Symbol.dispose]();
  }
  terminal.note(paint(
    terminal,
    "yellow",
    `Numeric setting fast computes another gradient of the first batch than exact: ` +
      `${formatCheck(check)}, and the cosine must be >= ${FAST_THRESHOLD}; going on in exact`,
  ));
  const opened = await open({ numeric: "exact", rotated: false });
  return { opened, choice: { setting: "exact", check } };
}

/** Compares, and tells what lets a run go on. */
async function checked(
  opened: Opened,
  batch: TokenBatch,
  terminal: Terminal,
): Promise<FastCheck> {
  const check = await checkFast(opened.step, rowsAtOnce(opened, batch));
  const how = opened.arithmetic.rotated ? ", weights of 8 bits rotated and rounded anew" : "";
  if (check.passed) {
    terminal.note(
      `Numeric setting fast${how}: its gradient of the first batch beside that of exact: ` +
        formatCheck(check),
    );
  }
  return check;
}

const rowsAtOnce = ({ fit }: Opened, batch: TokenBatch) => sliceBatch(batch, 0, fit.sequences);

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

const formatCheck = ({ cosine, relativeError }: FastCheck) =>
  `cosine ${cosine.toFixed(4)}, relative error ${formatShare(relativeError)}`;
