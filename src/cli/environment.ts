/** Flags from variables of the environment, for services and containers. */
import { snake } from "../config/parameter.ts";
import { checkValue } from "../config/values.ts";
import type { Flags } from "./flags.ts";

/** The variable of a flag: `GRAFT_ARG_CTX_SIZE` of `ctxSize`. */
function variableOf(key: string, prefix: string): string {
  return `${prefix}${snake(key).toUpperCase()}`;
}

/**
 * Values of the flags whose variables are set.
 *
 * @param variable reads one
 * @throws {UsageError} naming the variable, for a value that is none of its flag
 */
export function environmentValues(
  flags: Flags,
  prefix: string,
  variable: (name: string) => string | undefined,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(flags).flatMap(([key, flag]) => {
      const name = variableOf(key, prefix);
      const value = variable(name);
      return value === undefined ? [] : [[key, checkValue(flag, value, name)]];
    }),
  );
}
