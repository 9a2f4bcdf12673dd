/** Patterns over module paths: globs, regular expressions, PEFT's pattern keys. */
import { BadInputError, UsageError } from "../errors.ts";

/** What no glob contains. Inside one, `.*` means the same either way; at its start only one makes sense. */
const REGEX_SYNTAX = /[\\()|[\]{}^$+]|^\.[*?]/;

/** Whether a target is a pattern rather than a name. */
export function isPattern(target: string): boolean {
  return /[*?]/.test(target) || REGEX_SYNTAX.test(target);
}

/**
 * A test for whole paths. With regular-expression syntax in it a pattern is one, as PEFT's
 * `target_modules` text; otherwise `*` stands for any text and `?` for one character.
 *
 * @throws {UsageError} for a malformed expression
 */
export function patternTest(target: string): (path: string) => boolean {
  const source = REGEX_SYNTAX.test(target)
    ? target
    : target.replaceAll(".", "\\.").replaceAll("*", ".*").replaceAll("?", ".");
  let expression: RegExp;
  try {
    expression = new RegExp(`^(?:${source})$`);
  } catch (cause) {
    throw new UsageError(
      `Target modules must be names or valid patterns: current value is "${target}"`,
      {
        cause,
      },
    );
  }
  return (path) => expression.test(path);
}

/**
 * The value that a `rank_pattern` or `alpha_pattern` gives to a path, by PEFT's rule: the first key
 * that, as an expression, matches the end of the path at a component.
 *
 * @throws {BadInputError} for a key that could take exponential time or is malformed
 */
export function patternValue(
  pattern: Readonly<Record<string, number>>,
  path: string,
): number | undefined {
  for (const [key, value] of Object.entries(pattern)) {
    if (keyTest(key)(path)) return value;
  }
  return undefined;
}

function keyTest(key: string): (path: string) => boolean {
  if (/^[\w.-]*$/.test(key)) return (path) => path === key || path.endsWith(`.${key}`);
  // Repeated groups and long chains of repetitions are what makes matching explode.
  const repetitions = key.match(/[*+{]/g)?.length ?? 0;
  if (key.length > 200 || /\)[*+{?]/.test(key) || repetitions > 3) {
    throw new BadInputError(
      `Rank and alpha patterns must be simple: current key is "${key.slice(0, 80)}"`,
    );
  }
  try {
    const expression = new RegExp(`^(?:.*\\.)?(?:${key})$`);
    return (path) => expression.test(path);
  } catch (cause) {
    throw new BadInputError(
      `Rank and alpha patterns must be valid expressions: current key is "${key}"`,
      {
        cause,
      },
    );
  }
}
