/** From the text of a flag, or a value of a configuration file, to a checked value. */
import { UsageError } from "../errors.ts";
import type { Flag } from "./flags.ts";

const KIND_NAME: Readonly<Record<Flag["kind"], string>> = {
  text: "text",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  list: "a list",
  map: "numbers by name",
};

function wrong(where: string, wanted: string, found: unknown): UsageError {
  const shown = typeof found === "string" ? `"${found}"` : JSON.stringify(found);
  return new UsageError(`${where} must be ${wanted}: current value is ${shown}`);
}

function checkRange(flag: Flag, value: number, where: string): number {
  if (flag.min !== undefined && value < flag.min) throw wrong(where, `>= ${flag.min}`, value);
  if (flag.max !== undefined && value > flag.max) throw wrong(where, `<= ${flag.max}`, value);
  return value;
}

function checkChoice(flag: Flag, value: string, where: string): string {
  if (flag.choices !== undefined && !flag.choices.includes(value)) {
    throw wrong(where, `one of ${flag.choices.join(", ")}`, value);
  }
  return value;
}

/** `Number` takes "" for 0 and reads hexadecimal: neither is meant on a command line. */
function toNumber(value: string): number {
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(value.trim()) ? Number(value) : NaN;
}

/**
 * Checks a value that has a type already, as YAML gives it.
 *
 * YAML 1.2 reads `1e-5` as text (its numbers need a point), and users write it all the time: a
 * text that is a number is accepted as one.
 *
 * @param where how messages name the place, e.g. `--rank` or `"rank" in run.yaml`
 * @throws {UsageError} where the value has another type, is out of range or is none of the choices
 */
export function checkValue(flag: Flag, value: unknown, where: string): unknown {
  switch (flag.kind) {
    case "text":
      if (typeof value === "number" || typeof value === "boolean") {
        return checkValue(flag, String(value), where);
      }
      if (typeof value !== "string") throw wrong(where, KIND_NAME.text, value);
      return checkChoice(flag, value, where);
    case "integer":
    case "number": {
      const read = typeof value === "string" ? toNumber(value) : value;
      const fits = flag.kind === "integer" ? Number.isSafeInteger(read) : Number.isFinite(read);
      if (!fits) throw wrong(where, KIND_NAME[flag.kind], value);
      return checkRange(flag, read as number, where);
    }
    case "boolean":
      if (value === "true" || value === "false") return value === "true";
      if (typeof value !== "boolean") throw wrong(where, KIND_NAME.boolean, value);
      return value;
    case "list":
      if (typeof value === "string") {
        return checkValue(flag, flag.verbatim ? [value] : splitList(value), where);
      }
      if (!Array.isArray(value)) throw wrong(where, KIND_NAME.list, value);
      return value.map((item) => {
        if (typeof item !== "string" && typeof item !== "number") {
          throw wrong(where, KIND_NAME.list, value);
        }
        return checkChoice(flag, String(item), where);
      });
    case "map":
      if (typeof value === "string") return checkValue(flag, splitMap(value, where), where);
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw wrong(where, KIND_NAME.map, value);
      }
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => {
          const read = typeof item === "string" ? toNumber(item) : item;
          if (!Number.isFinite(read)) throw wrong(`${where}: ${key}`, KIND_NAME.number, item);
          return [key, read as number];
        }),
      );
  }
}

function splitList(value: string): string[] {
  return value.split(",").map((item) => item.trim()).filter((item) => item !== "");
}

function splitMap(value: string, where: string): Record<string, string> {
  return Object.fromEntries(
    splitList(value).map((item) => {
      // The last "=": names may be patterns.
      const at = item.lastIndexOf("=");
      if (at < 1) throw wrong(where, "NAME=NUMBER pairs separated by commas", value);
      return [item.slice(0, at), item.slice(at + 1)];
    }),
  );
}
