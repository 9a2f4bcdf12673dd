/** Sizes in bytes as people write them. */
import { ParameterError } from "../errors.ts";

const UNITS = ["", "K", "M", "G", "T"];

/**
 * Reads `512M`, `1.5G`, `2GB`, `1GiB` or plain bytes. Units are powers of ten, with an `i` of two.
 *
 * @param parameter whose value the text is
 * @throws {ParameterError} for anything else
 */
export function parseSize(text: string, parameter: string): number {
  const [, digits, unit = "", binary] =
    /^(\d+(?:\.\d+)?) ?(?:([KMGT])(i?))?B?$/i.exec(text.trim()) ?? [];
  const power = UNITS.indexOf(unit.toUpperCase());
  const bytes = Number(digits) * (binary ? 1024 : 1000) ** power;
  if (Number.isFinite(bytes) && bytes > 0) return Math.round(bytes);
  throw new ParameterError(
    parameter,
    (name) => `${name(parameter)} must be a size like 512M or 2G: current value is "${text}"`,
  );
}
