/** Patterns over module paths: globs, regular expressions, PEFT's pattern keys. */
import { BadInputError, UsageError } from "../errors.ts";
import { LinearPattern } from "./linear_pattern.ts";

/**
 * Syntax that no glob contains. Inside a glob, `.*` means the same in both syntaxes; at its start only
 * one makes sense.
 */
const REGEX_SYNTAX = /[\\()|[\]{}^$+]|^\.[*?]/;

/** Whether a target is a pattern rather than a name. */
export function isPattern(target: string): boolean {
  return /[*?]/.test(target) || REGEX_SYNTAX.test(target);
}

/**
 * A test for whole paths. A pattern with regular-expression syntax is a regular expression, like PEFT's
 * `target_modules` text; otherwise `*` stands for any text and `?` for one character.
 *
 * @throws {UsageError} for a malformed expression, or one that cannot be matched in bounded time
 */
export function patternTest(target: string): (path: string) => boolean {
  const source = REGEX_SYNTAX.test(target)
    ? target
    : target.replaceAll(".", "\\.").replaceAll("*", ".*").replaceAll("?", ".");
  try {
    const pattern = new LinearPattern(source);
    return (path) => pattern.test(path);
  } catch (cause) {
    throw new UsageError(
      `Target modules must be names or valid patterns: current value is "${shown(target)}": ` +
        (cause as Error).message,
      { cause },
    );
  }
}

/** Values of a `rank_pattern` or `alpha_pattern`, for look-ups of many paths. */
export class PatternValues {
  /** Keys that are names, with their positions. */
  readonly #names = new Map<string, number>();
  #longestName = 0;
  /** Keys that are expressions, with their positions. */
  readonly #expressions: { readonly place: number; readonly pattern: LinearPattern }[] = [];
  readonly #values: readonly number[];

  /** @throws {BadInputError} for a key that is malformed or cannot be matched in bounded time */
  constructor(values: Readonly<Record<string, number>>) {
    this.#values = Object.values(values);
    Object.keys(values).forEach((key, place) => {
      if (/^[\w.-]*$/.test(key)) {
        this.#names.set(key, place);
        this.#longestName = Math.max(this.#longestName, key.length);
      } else this.#expressions.push({ place, pattern: keyPattern(key) });
    });
    const steps = this.#expressions.reduce((sum, { pattern }) => sum + pattern.size, 0);
    if (steps <= MAX_STEPS) return;
    throw new BadInputError(
      `Rank and alpha patterns may have expressions of ${MAX_STEPS} steps together: current count ` +
        `is ${steps}: give modules by their names instead`,
    );
  }

  /** The value by PEFT's rule: that of the first key that matches the end of the path at a component. */
  of(path: string): number | undefined {
    let first = this.#names.get(path) ?? Infinity;
    const from = Math.max(0, path.length - this.#longestName - 1);
    for (let dot = path.indexOf(".", from); dot >= 0; dot = path.indexOf(".", dot + 1)) {
      first = Math.min(first, this.#names.get(path.slice(dot + 1)) ?? Infinity);
    }
    const found = this.#expressions.find(({ place, pattern }) =>
      place < first && pattern.test(path)
    );
    return this.#values[found?.place ?? first];
  }
}

/** Most steps of all expressions together, because each is tried with each module. */
const MAX_STEPS = 8192;

function keyPattern(key: string): LinearPattern {
  try {
    return new LinearPattern(`(?:.*\\.)?(?:${key})`);
  } catch (cause) {
    throw new BadInputError(
      `Rank and alpha patterns must be names or valid expressions: current key is ` +
        `"${shown(key)}": ${(cause as Error).message}`,
      { cause },
    );
  }
}

const shown = (text: string) => text.length > 80 ? `${text.slice(0, 79)}…` : text;
