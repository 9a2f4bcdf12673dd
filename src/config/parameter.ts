/**
 * Parameters as typed data: one table for a configuration says what its values are, where they lie
 * and what they are by default. The keys of a configuration file and the flags of a command line
 * follow from it.
 *
 * A parameter's key is written in camelCase; it reads `snake_case` in a YAML file and `--kebab-case`
 * on a command line.
 */
import type { NameParameter } from "../errors.ts";

/** What a value is. */
export type ParameterKind = "text" | "integer" | "number" | "boolean" | "list" | "map";

/** Description of one parameter; `T` is the type of its value. */
export interface Parameter<T = unknown> {
  readonly kind: ParameterKind;
  readonly default?: T;
  readonly required?: boolean;
  /** The only values accepted. */
  readonly choices?: readonly string[];
  /** Smallest value of a number, inclusive. */
  readonly min?: number;
  /** Largest value of a number, inclusive. */
  readonly max?: number;
  /** Whether a text of a list is one item, commas and spaces included. */
  readonly verbatim?: boolean;
  /** Other keys (camelCase) users know this parameter by, accepted and not listed. */
  readonly aliases?: readonly string[];
  /** Key of a parameter that, given on the command line, takes the place of this one's in a file. */
  readonly yieldsTo?: string;
  /** `false` for parameters that make no sense in a configuration file. */
  readonly inFile?: boolean;
}

/** The parameters of a configuration, by camelCase key, in the order of its file. */
// deno-lint-ignore no-explicit-any -- values differ per parameter; `Values` recovers each one's type
export type Parameters = Readonly<Record<string, Parameter<any>>>;

/** A table for the configuration `C`: an entry for each of its keys, of its type. */
export type ParametersOf<C> = { readonly [K in keyof Required<C>]: Parameter<Required<C>[K]> };

/** `maxSeqLength` as the command line spells it: `max-seq-length`. */
export function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `maxSeqLength` as a configuration file spells it: `max_seq_length`. */
export function snake(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The key of a parameter by its flag: `learningRate` of `--learning-rate`. */
export function keyOfFlag(flag: string): string {
  return flag.replace(/^--/, "").replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());
}

/** Parameters as the command line has them: `--learning-rate`, `--ep cpu`, `--no-train`. */
export const asFlag: NameParameter = (parameter, value) => {
  if (value === false) return `--no-${kebab(parameter)}`;
  const name = `--${kebab(parameter)}`;
  return value === undefined || value === true ? name : `${name} ${value}`;
};
