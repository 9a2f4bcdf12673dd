/** Whether a value is what its parameter takes, and what is said where it is not. */
import type { Parameter, ParameterKind } from "./parameter.ts";

const KIND_NAME: Readonly<Record<ParameterKind, string>> = {
  text: "text",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  list: "a list",
  map: "numbers by name",
};

/** Why a value cannot be used. */
export interface Misfit {
  /** Key of the number that is wrong among several by name. */
  readonly key?: string;
  /** What the value must be: the end of "it must be". */
  readonly wanted: string;
  readonly found: unknown;
}

/** Why a value is none of its parameter; `undefined` where it fits. */
export function misfit(parameter: Parameter, value: unknown): Misfit | undefined {
  switch (parameter.kind) {
    case "text":
      return typeof value === "string" ? badChoice(parameter, value) : other(parameter, value);
    case "integer":
      return Number.isSafeInteger(value)
        ? outOfRange(parameter, value as number)
        : other(parameter, value);
    case "number":
      return Number.isFinite(value)
        ? outOfRange(parameter, value as number)
        : other(parameter, value);
    case "boolean":
      return typeof value === "boolean" ? undefined : other(parameter, value);
    case "list":
      return badItem(parameter, value);
    case "map":
      return badNumber(parameter, value);
  }
}

/**
 * A misfit as a sentence.
 *
 * @param where what has the value: a parameter, a flag, a key of a file
 */
export function mustBe(where: string, { key, wanted, found }: Misfit): string {
  const place = key === undefined ? where : `${where}: ${key}`;
  const shown = typeof found === "string" ? `"${found}"` : JSON.stringify(found) ?? String(found);
  return `${place} must be ${wanted}: current value is ${shown}`;
}

const other = ({ kind }: Parameter, found: unknown): Misfit => ({ wanted: KIND_NAME[kind], found });

function badChoice({ choices }: Parameter, found: string): Misfit | undefined {
  if (choices === undefined || choices.includes(found)) return undefined;
  return { wanted: `one of ${choices.join(", ")}`, found };
}

function outOfRange({ min, max }: Parameter, found: number): Misfit | undefined {
  if (min !== undefined && found < min) return { wanted: `>= ${min}`, found };
  return max !== undefined && found > max ? { wanted: `<= ${max}`, found } : undefined;
}

function badItem(parameter: Parameter, value: unknown): Misfit | undefined {
  if (!Array.isArray(value)) return other(parameter, value);
  for (const item of value) {
    if (typeof item !== "string") return other(parameter, value);
    const bad = badChoice(parameter, item);
    if (bad !== undefined) return bad;
  }
  return undefined;
}

function badNumber(parameter: Parameter, value: unknown): Misfit | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return other(parameter, value);
  }
  for (const [key, found] of Object.entries(value)) {
    if (!Number.isFinite(found)) return { key, wanted: KIND_NAME.number, found };
  }
  return undefined;
}
