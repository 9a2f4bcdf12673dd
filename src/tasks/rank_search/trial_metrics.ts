/** What the validation of a trial found, from the metrics that its training wrote. */
import { join } from "@std/path";
import type { Validated } from "../../search/metric.ts";
import { readSmallText } from "../../system/small_file.ts";

/**
 * The evaluation whose parameters the adapter has after these steps: that of the lowest loss, or the last.
 *
 * @returns `undefined` if the last evaluation is not there
 */
export function validationOf(
  adapterPath: string,
  steps: number,
  loadBest: boolean,
): Validated | undefined {
  const text = readSmallText(join(adapterPath, "metrics.jsonl")) ?? "";
  const all = text.split("\n").flatMap(evaluationIn)
    .filter(({ step }) => step > 0 && step <= steps);
  const last = all.findLast(({ step }) => step === steps);
  if (last === undefined || !loadBest) return last;
  return all.reduce((best, one) => one.loss < best.loss ? one : best);
}

function evaluationIn(line: string): readonly (Validated & { readonly step: number })[] {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line);
  } catch {
    return []; // the empty end, or a line that a power loss cut short
  }
  const { step, val_loss: loss, val_accuracy: accuracy } = record;
  if (typeof step !== "number" || typeof loss !== "number") return [];
  return [{ step, loss, ...(typeof accuracy === "number" ? { accuracy } : {}) }];
}
