/** Weights of adapters on the command line. */
import { UsageError } from "../../errors.ts";

/**
 * Parses the values of `--adapter-weights`.
 *
 * @throws {UsageError} for what is no number
 */
export function parseWeights(texts: readonly string[] | undefined): readonly number[] | undefined {
  return texts?.map((text) => {
    const weight = text.trim() === "" ? NaN : Number(text);
    if (Number.isFinite(weight)) return weight;
    throw new UsageError(`--adapter-weights must be numbers: current value is "${text}"`);
  });
}
