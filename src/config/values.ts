/** From the text of a command line, or a value of a configuration file, to a checked value. */
import { UsageError } from "../errors.ts";
import { misfit, mustBe } from "./misfit.ts";
import type { Parameter } from "./parameter.ts";

/** `Number` takes "" for 0 and reads hexadecimal: neither is meant on a command line. */
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

/** A text that is a number as one; anything else as it is. */
function toNumber(value: unknown): unknown {
  if (typeof value !== "string" || !NUMBER.test(value.trim())) return value;
  return Number.isFinite(Number(value)) ? Number(value) : value;
}

/**
 * Checks a value that has a type already, as YAML gives it, or is text.
 *
 * YAML 1.2 reads `1e-5` as text (its numbers need a point), and users write it all the time: a
 * text that is a number is accepted as one.
 *
 * @param where how messages name the place, e.g. `--rank` or `"rank" in run.yaml`
 * @throws {UsageError} where the value has another type, is out of range or is none of the choices
 */
export function checkValue(parameter: Parameter, value: unknown, where: string): unknown {
  const read = convert(parameter, value, where);
  const bad = misfit(parameter, read);
  if (bad !== undefined) throw new UsageError(mustBe(where, bad));
  return read;
}

function convert(parameter: Parameter, value: unknown, where: string): unknown {
  switch (parameter.kind) {
    case "text":
      return typeof value === "number" || typeof value === "boolean" ? String(value) : value;
    case "integer":
    case "number":
      return toNumber(value);
    case "boolean":
      return value === "true" || value === "false" ? value === "true" : value;
    case "list": {
      if (typeof value === "string") return parameter.verbatim ? [value] : splitList(value);
      if (!Array.isArray(value)) return value;
      return value.map((item) => typeof item === "number" ? String(item) : item);
    }
    case "map": {
      const pairs = typeof value === "string" ? splitMap(value, where) : value;
      if (typeof pairs !== "object" || pairs === null || Array.isArray(pairs)) return pairs;
      return Object.fromEntries(
        Object.entries(pairs).map(([key, item]) => [key, toNumber(item)]),
      );
    }
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
      if (at < 1) {
        const wanted = "NAME=NUMBER pairs separated by commas";
        throw new UsageError(mustBe(where, { wanted, found: value }));
      }
      return [item.slice(0, at), item.slice(at + 1)];
    }),
  );
}
