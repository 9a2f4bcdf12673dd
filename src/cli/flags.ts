/**
 * Flags as typed data: one table per verb gives the parser, the help text, the configuration
 * file's keys and the type of the parsed values. What the library has a configuration for takes
 * its kinds, ranges and defaults from there.
 */
import type { Parameter } from "../config/parameter.ts";

/** Description of one flag; `T` is the type of its parsed value. */
export interface Flag<T = unknown> extends Parameter<T> {
  /** One sentence without a full stop; the default and the choices are added by the help. */
  readonly description: string;
  /** One letter, without the dash. */
  readonly short?: string;
  /** Placeholder in the help, e.g. `DIR`. */
  readonly placeholder?: string;
  /** Heading under which the help lists the flag. */
  readonly group?: string;
}

/** The flags of a verb, by camelCase key. */
// deno-lint-ignore no-explicit-any -- values differ per flag; `Values` recovers each one's type
export type Flags = Readonly<Record<string, Flag<any>>>;

/** The parsed values of a table of flags. */
export type Values<F extends Flags> = {
  readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never;
};

type Options<T> = Omit<Flag<T>, "kind" | "description">;
/** A flag that always has a value: it has a default or must be given. */
type Present<T> = Options<T> & ({ readonly default: T } | { readonly required: true });

/** A flag of free text, a path or one of `choices`. */
export function text<const C extends string = string>(
  description: string,
  options: Options<C> & { readonly choices: readonly C[]; readonly default: NoInfer<C> },
): Flag<C>;
export function text(description: string, options: Present<string>): Flag<string>;
export function text(description: string, options?: Options<string>): Flag<string | undefined>;
export function text(description: string, options: Options<string> = {}): Flag<string | undefined> {
  return { kind: "text", description, ...options };
}

/** A flag of a whole number. */
export function integer(description: string, options: Present<number>): Flag<number>;
export function integer(description: string, options?: Options<number>): Flag<number | undefined>;
export function integer(
  description: string,
  options: Options<number> = {},
): Flag<number | undefined> {
  return { kind: "integer", description, ...options };
}

/** A flag of a finite number. */
export function number(description: string, options: Present<number>): Flag<number>;
export function number(description: string, options?: Options<number>): Flag<number | undefined>;
export function number(
  description: string,
  options: Options<number> = {},
): Flag<number | undefined> {
  return { kind: "number", description, ...options };
}

/** A switch: `--name` or `--no-name`. Without a default it is `undefined` until set. */
export function boolean(description: string, options: Present<boolean>): Flag<boolean>;
export function boolean(description: string, options?: Options<boolean>): Flag<boolean | undefined>;
export function boolean(
  description: string,
  options: Options<boolean> = {},
): Flag<boolean | undefined> {
  return { kind: "boolean", description, ...options };
}

/** A flag of several texts, free or among `choices`: `--name a,b` or `--name a --name b`; a list in YAML. */
export function list<const C extends string = string>(
  description: string,
  options: Options<readonly C[]> & {
    readonly choices: readonly C[];
    readonly default: readonly NoInfer<C>[];
  },
): Flag<readonly C[]>;
export function list(
  description: string,
  options: Present<readonly string[]>,
): Flag<readonly string[]>;
export function list(
  description: string,
  options?: Options<readonly string[]>,
): Flag<readonly string[] | undefined>;
export function list(
  description: string,
  options: Options<readonly string[]> = {},
): Flag<readonly string[] | undefined> {
  return { kind: "list", description, ...options };
}

/** A flag of numbers by name: `--name a=1,b=2`; a mapping in YAML. */
export function map(
  description: string,
  options: Options<Readonly<Record<string, number>>> = {},
): Flag<Readonly<Record<string, number>>> {
  return { kind: "map", description, default: {}, ...options };
}

/** The same flags under another heading of the help. */
export function inGroup<F extends Flags>(flags: F, group: string): F {
  return Object.fromEntries(
    Object.entries(flags).map(([key, flag]) => [key, { ...flag, group }]),
  ) as unknown as F;
}
