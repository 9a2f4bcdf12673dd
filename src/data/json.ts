/** Parses the JSON text of a row and checks it before use. */
import { BadInputError } from "../errors.ts";

/** An object as JSON gives it. */
export type JsonObject = { readonly [key: string]: unknown };

/** Deepest nesting of arrays and objects in a row, more than in any chat or tool description. */
const MAX_DEPTH = 64;

/**
 * Parses one JSON object.
 *
 * @param place file and line for messages
 * @throws {BadInputError} for anything but an object, for `__proto__` keys and for deep nesting
 */
export function parseJsonObject(text: string, place: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BadInputError(`${place}: the line is not JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) {
    throw new BadInputError(
      `${place}: a line must be a JSON object: current value is ${describe(value)}` +
        (Array.isArray(value) ? ` (a JSON array is not JSONL: write one object per line)` : ""),
    );
  }
  checkTree(value, place, 0);
  return value;
}

/** Whether a value is a JSON object: neither an array nor null. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function checkTree(value: unknown, place: string, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > MAX_DEPTH) {
    throw new BadInputError(`${place}: values are nested deeper than ${MAX_DEPTH}`);
  }
  for (const [key, child] of Object.entries(value)) {
    if (key === "__proto__") throw new BadInputError(`${place}: "__proto__" is no key for data`);
    checkTree(child, place, depth + 1);
  }
}

/** Formats a value for a message: short, one line. */
export function describe(value: unknown): string {
  if (value === undefined) return "missing";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (isObject(value)) {
    return `an object with the keys ${Object.keys(value).slice(0, 8).map(describe).join(", ")}`;
  }
  const text = JSON.stringify(value);
  return text.length > 60 ? text.slice(0, 57) + "…" : text;
}

/** Reads a string without unpaired surrogates, which no tokenizer can encode. */
export function textIn(value: unknown, name: string, place: string): string {
  if (typeof value !== "string") {
    throw new BadInputError(
      `${place}: "${name}" must be a string: current value is ${describe(value)}`,
    );
  }
  if (!value.isWellFormed()) {
    throw new BadInputError(`${place}: "${name}" holds half of a surrogate pair`);
  }
  return value;
}
