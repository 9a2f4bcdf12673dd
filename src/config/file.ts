/** Configuration files: parameters under their snake_case names, and the two nested forms of mlx_lm. */
import { parse, stringify } from "@std/yaml";
import { UsageError } from "../errors.ts";
import { ownValue } from "../records.ts";
import { suggestion } from "./nearest.ts";
import { type Parameters, snake } from "./parameter.ts";
import { checkValue } from "./values.ts";

/** `lora_parameters: {…}` in keys of parameters. */
const LORA_PARAMETERS: Readonly<Record<string, string>> = {
  rank: "rank",
  alpha: "lora_alpha",
  dropout: "lora_dropout",
  keys: "target_modules",
};

/** mlx_lm's schedule names besides graft's own. */
const SCHEDULE_NAMES: Readonly<Record<string, string>> = {
  cosine_decay: "cosine",
  linear_schedule: "linear",
};

type Mapping = Record<string, unknown>;

function mapping(value: unknown, where: string): Mapping {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`${where} must be a mapping of names to values`);
  }
  return value as Mapping;
}

/** `lr_schedule: {name, warmup, arguments: [learning rate, steps, end]}` in keys of parameters. */
function flattenSchedule(value: unknown, where: string): Mapping {
  if (typeof value === "string") return { lr_schedule: value };
  const { name, warmup, arguments: args = [], ...rest } = mapping(value, where);
  for (const key of Object.keys(rest)) {
    throw new UsageError(`Unknown key "${key}" in ${where}: known are name, warmup, arguments`);
  }
  if (!Array.isArray(args) || args.length > 3) {
    throw new UsageError(
      `"arguments" in ${where} must be [learning rate, steps, last learning rate]`,
    );
  }
  const flat: Mapping = {
    lr_schedule: typeof name === "string" ? ownValue(SCHEDULE_NAMES, name) ?? name : name,
    warmup_steps: warmup,
    learning_rate: args[0],
    lr_decay_steps: args[1],
    lr_end: args[2],
  };
  return Object.fromEntries(Object.entries(flat).filter(([, item]) => item !== undefined));
}

function flattenLora(value: unknown, where: string): Mapping {
  const { scale, ...plain } = mapping(value, where);
  if (scale !== undefined) {
    // mlx_lm's scale is PEFT's alpha / rank.
    if (typeof scale !== "number" || typeof plain.rank !== "number" || plain.alpha !== undefined) {
      throw new UsageError(`"scale" in ${where} must be a number beside "rank", without "alpha"`);
    }
    plain.alpha = scale * plain.rank;
  }
  return Object.fromEntries(
    Object.entries(plain).map(([key, item]) => {
      const name = ownValue(LORA_PARAMETERS, key);
      if (name === undefined) {
        throw new UsageError(
          `Unknown key "${key}" in ${where}${suggestion(key, Object.keys(LORA_PARAMETERS))}`,
        );
      }
      return [name, item];
    }),
  );
}

/**
 * Reads a configuration file's text into values by camelCase key.
 *
 * @param path how messages name the file
 * @throws {UsageError} for text that is no YAML mapping, an unknown key, or a value that does not fit
 */
export function parseConfig(source: string, parameters: Parameters, path: string): Mapping {
  let document: unknown;
  try {
    document = parse(source);
  } catch (error) {
    throw new UsageError(`Cannot read ${path} as YAML: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const keys = new Map(
    Object.entries(parameters).filter(([, { inFile }]) => inFile !== false).flatMap((
      [key, { aliases = [] }],
    ) => [key, ...aliases].map((name) => [snake(name), key])),
  );
  const { lora_parameters, lr_schedule, ...plain } = document === null
    ? {} as Mapping
    : mapping(document, path);
  const flat: Mapping = {
    ...plain,
    ...lora_parameters === undefined
      ? {}
      : flattenLora(lora_parameters, `"lora_parameters" in ${path}`),
    ...lr_schedule === undefined ? {} : flattenSchedule(lr_schedule, `"lr_schedule" in ${path}`),
  };
  const values: Mapping = {};
  for (const [name, value] of Object.entries(flat)) {
    const key = keys.get(name);
    if (key === undefined) {
      throw new UsageError(`Unknown key "${name}" in ${path}${suggestion(name, keys.keys())}`);
    }
    // An empty value in YAML means "not set".
    if (value !== null) values[key] = checkValue(parameters[key], value, `"${name}" in ${path}`);
  }
  return values;
}

/** Resolved values under the keys of a configuration file; what is unset or has no place there is left out. */
export function fileValues(values: Mapping, parameters: Parameters): Mapping {
  return Object.fromEntries(
    Object.entries(parameters)
      .filter(([key, { inFile }]) => inFile !== false && values[key] !== undefined)
      .map(([key]) => [snake(key), values[key]]),
  );
}

/** Writes resolved values as a configuration file that {@linkcode parseConfig} reads back. */
export function formatConfig(values: Mapping, parameters: Parameters): string {
  return stringify(fileValues(values, parameters)) as string;
}
