/** Which value of a flag counts: that of the command line, else of the file, else the default. */
import { kebab } from "../config/parameter.ts";
import { UsageError } from "../errors.ts";
import type { Flags } from "./flags.ts";

type Mapping = Readonly<Record<string, unknown>>;

/**
 * The final values: command line, else file, else default.
 *
 * @throws {UsageError} where a required flag has no value
 */
export function resolveValues(
  flags: Flags,
  fromCommandLine: Mapping,
  fromFile: Mapping = {},
): { readonly values: Record<string, unknown>; readonly given: ReadonlySet<string> } {
  const stays = ([key]: [string, unknown]) => {
    const { yieldsTo } = flags[key];
    return yieldsTo === undefined || fromCommandLine[yieldsTo] === undefined;
  };
  const set = { ...Object.fromEntries(Object.entries(fromFile).filter(stays)), ...fromCommandLine };
  const values: Record<string, unknown> = {};
  for (const [key, flag] of Object.entries(flags)) {
    values[key] = set[key] ?? flag.default;
    if (flag.required && values[key] === undefined) {
      throw new UsageError(`Missing --${kebab(key)}: ${flag.description}`);
    }
  }
  return { values, given: new Set(Object.keys(set)) };
}
