/** Configurations as programs give them. */
import type { ParametersOf } from "./parameter.ts";
import { resolveParameters } from "./resolve.ts";

/** A configuration as a program gives it: what has a default may be absent. */
export type Given<C, Needed extends keyof C> = Pick<C, Needed> & Partial<C>;

/**
 * A whole configuration, its defaults filled in.
 *
 * @throws {ParameterError} naming the parameter that is unknown, missing, of another type, out of range
 *   or none of the choices
 */
export function wholeConfig<C>(parameters: ParametersOf<C>, given: Partial<C>): C {
  return resolveParameters(parameters, given) as C;
}
