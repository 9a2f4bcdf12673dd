/** Lists of numbers on the command line. */
import { asFlag } from "../../config/parameter.ts";
import { UsageError } from "../../errors.ts";

/**
 * Parses the values of a flag, such as `--adapter-weights`.
 *
 * @param key of the flag
 * @throws {UsageError} for what is no number
 */
export function parseNumbers(
  key: string,
  texts: readonly string[] | undefined,
): readonly number[] | undefined {
  return texts?.map((text) => {
    const value = text.trim() === "" ? NaN : Number(text);
    if (Number.isFinite(value)) return value;
    throw new UsageError(`${asFlag(key)} must be numbers: current value is "${text}"`);
  });
}
