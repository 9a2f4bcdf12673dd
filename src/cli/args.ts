/** The command line of a verb: flags and operands. */
import { UsageError } from "../errors.ts";
import { kebab } from "../config/parameter.ts";
import type { Flag, Flags } from "./flags.ts";
import { suggestion } from "../config/nearest.ts";
import { checkValue } from "../config/values.ts";

/** What a command line says, before configuration files and defaults. */
export interface ParsedArguments {
  /** Values of the flags that were given, by camelCase key. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly operands: readonly string[];
  /** Whether `--help` or `-h` was among them. */
  readonly help: boolean;
}

/** Finds flags under all names the command line knows them by. */
function index(flags: Flags): Map<string, string> {
  const keys = new Map<string, string>();
  for (const [key, flag] of Object.entries(flags)) {
    for (const name of [key, ...flag.aliases ?? []]) keys.set(`--${kebab(name)}`, key);
    if (flag.short !== undefined) keys.set(`-${flag.short}`, key);
  }
  return keys;
}

/**
 * Parses the arguments after the verb. `--flag value`, `--flag=value` and `-f value` are the same;
 * switches are `--flag` and `--no-flag`; lists may be repeated; `--` ends the flags.
 *
 * @throws {UsageError} for an unknown flag (with the nearest spelling), a missing value or a wrong one
 */
export function parseArguments(argv: readonly string[], flags: Flags): ParsedArguments {
  const keys = index(flags);
  const values: Record<string, unknown> = {};
  const operands: string[] = [];
  let help = false;

  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i];
    if (argument === "--") {
      operands.push(...argv.slice(i + 1));
      break;
    }
    // A lone "-" is the usual name of standard input; "-5" is a number.
    if (!/^-./.test(argument) || /^-[\d.]/.test(argument)) {
      operands.push(argument);
      continue;
    }
    const equals = argument.startsWith("--") ? argument.indexOf("=") : -1;
    const name = (equals < 0 ? argument : argument.slice(0, equals)).replaceAll("_", "-");
    const inline = equals < 0 ? undefined : argument.slice(equals + 1);
    const key = keys.get(name);
    if (key === undefined && (name === "--help" || name === "-h")) {
      help = true;
      continue;
    }
    const negated = name.startsWith("--no-") ? keys.get(`--${name.slice(5)}`) : undefined;
    if (key === undefined && negated !== undefined && flags[negated].kind === "boolean") {
      if (inline !== undefined) {
        throw new UsageError(`${name} takes no value: current value is "${inline}"`);
      }
      values[negated] = false;
      continue;
    }
    if (key === undefined) {
      throw new UsageError(`Unknown flag ${name}${suggestion(name, [...keys.keys(), "--help"])}`);
    }
    const flag = flags[key];
    if (flag.kind === "boolean") {
      values[key] = inline === undefined ? true : checkValue(flag, inline, name);
      continue;
    }
    const text = inline ?? argv[++i];
    if (text === undefined || (inline === undefined && keys.has(text.split("=")[0]))) {
      throw new UsageError(`${name} needs a value: ${describe(flag)}`);
    }
    values[key] = join(flag, values[key], checkValue(flag, text, name));
  }
  return { values, operands, help };
}

/** A repeated list or map adds to itself; any other repeated flag takes the last value. */
function join(flag: Flag, before: unknown, now: unknown): unknown {
  if (before === undefined) return now;
  if (flag.kind === "list") return [...before as string[], ...now as string[]];
  if (flag.kind === "map") return { ...before as object, ...now as object };
  return now;
}

function describe(flag: Flag): string {
  return flag.choices?.join(", ") ?? flag.description;
}
