/** Common parts of the verbs of `graft bench`. */
import { UsageError } from "../../errors.ts";
import type { Runner } from "../../runtime/runner.ts";
import { processor } from "../../system/processor.ts";
import { boolean, text } from "../flags.ts";
import { MODEL_TEXT } from "../models/model_text.ts";

export const JSON_FLAG = boolean("Print JSON", { default: false });

export const MODEL_FLAG = text(MODEL_TEXT, {
  required: true,
  short: "m",
  placeholder: "DIR",
});

/**
 * A list of whole numbers.
 *
 * @param name the flag, for messages
 * @throws {UsageError} for anything else, or one below `min`
 */
export function wholeNumbers(name: string, values: readonly string[], min: number): number[] {
  if (values.length === 0) throw new UsageError(`${name} must name a number`);
  return values.map((value) => {
    const number = /^-?\d+$/.test(value) ? Number(value) : NaN;
    if (number >= min) return number;
    throw new UsageError(
      `${name} must be whole numbers >= ${min}: current value is "${value}"`,
    );
  });
}

/** The machine and library of a measurement. */
export function machine(runner: Runner): { readonly processor: string; readonly runtime: string } {
  const { name, threads } = processor();
  return { processor: `${name}, ${threads} threads`, runtime: runner.description };
}
