/** Durations as people write them. */
import { ParameterError } from "../errors.ts";

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/**
 * Reads `45s`, `90m` or `1.5h` as seconds. The unit is needed: a bare number means seconds to one reader
 * and minutes to another.
 *
 * @param parameter whose value the text is
 * @throws {ParameterError} for anything else
 */
export function parseDuration(text: string, parameter: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([smh])$/.exec(text.trim()) ?? [];
  const seconds = unit === undefined ? NaN : Number(digits) * SECONDS[unit];
  if (Number.isFinite(seconds) && seconds > 0) return seconds;
  throw new ParameterError(
    parameter,
    (name) => `${name(parameter)} must be a time like 45s, 90m or 1.5h: current value is "${text}"`,
  );
}
