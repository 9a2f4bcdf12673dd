/** From what a program gives to a whole configuration: defaults filled in, every value checked. */
import { ParameterError } from "../errors.ts";
import { misfit, mustBe } from "./misfit.ts";
import { suggestion } from "./nearest.ts";
import type { Parameters } from "./parameter.ts";

/**
 * The values of all parameters.
 *
 * @param given what is `undefined` in it takes its default
 * @throws {ParameterError} naming the parameter that is unknown, missing, of another type, out of
 * range or none of the choices
 */
export function resolveParameters(
  parameters: Parameters,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(parameters, key)) continue;
    throw new ParameterError(
      key,
      `Unknown parameter "${key}"${suggestion(key, Object.keys(parameters))}`,
    );
  }
  const values: Record<string, unknown> = {};
  for (const [key, parameter] of Object.entries(parameters)) {
    const value = values[key] = given[key] ?? parameter.default;
    if (value === undefined) {
      if (!parameter.required) continue;
      throw new ParameterError(key, (name) => `${name(key)} is missing`);
    }
    const bad = misfit(parameter, value);
    if (bad !== undefined) throw new ParameterError(key, (name) => mustBe(name(key), bad));
  }
  return values;
}
