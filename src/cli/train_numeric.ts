/** `--numeric`: the setting asked for, checked on the first batch before it is used. */
import type { TokenBatch } from "../data/targets.ts";
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

/** Chooses the setting, tells what was found and leaves the model in it. */
export async function chooseNumeric(
  asked: Numeric,
  step: PlannedModel,
  batch: TokenBatch,
  terminal: Terminal,
): Promise<NumericChoice> {
  if (asked === "exact") return { setting: "exact" };
  const check = await checkFast(step, batch);
  const found = `cosine ${check.cosine.toFixed(4)}, relative error ${
    formatShare(check.relativeError)
  }`;
  terminal.note(
    check.passed
      ? `Numeric setting fast: its gradient of the first batch beside that of exact: ${found}`
      : paint(
        terminal,
        "yellow",
        `Numeric setting fast computes another gradient of the first batch than exact: ${found}, ` +
          `and the cosine must be >= ${FAST_THRESHOLD}; going on in exact`,
      ),
  );
  return { setting: check.passed ? "fast" : "exact", check };
}
