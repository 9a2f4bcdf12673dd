/** An analysis as JSON text. */
import type { Analysis } from "./analysis.ts";

/** Significant digits of the figures. */
const DIGITS = 7;

/** The text of `report.json`: keys in snake_case, figures with seven significant digits. */
export function analysisJson(analysis: Analysis): string {
  return JSON.stringify(plain(analysis), null, 2) + "\n";
}

/** Keys are this program's own names, never those of a file. */
function plain(value: unknown): unknown {
  if (typeof value === "number") return Number(value.toPrecision(DIGITS));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, of]) => [snake(key), plain(of)]),
  );
}

const snake = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
