/** Limits that figures are held to, and the words for one that is broken. */
import { compareReleases } from "../compile/elf.ts";

/** What a figure may be at most: a number, a release such as `2.28`, or the one value that it must have. */
export type Limit =
  | { readonly atMost: number }
  | { readonly release: string }
  | { readonly is: boolean | number | string };

/** Limits by the figure's name. */
export type Limits = Readonly<Record<string, Limit>>;

/**
 * The figures that break their limits, in words.
 *
 * @param figures those without a limit are not looked at
 * @returns none where all are kept; a figure that is missing or no number breaks its limit
 */
export function brokenLimits(
  figures: Readonly<Record<string, unknown>>,
  limits: Limits,
): string[] {
  return Object.entries(limits).flatMap(([name, limit]) => {
    const value = figures[name];
    if ("is" in limit) {
      return value === limit.is ? [] : [`${name} must be ${limit.is}: current value is ${value}`];
    }
    const kept = "release" in limit
      ? typeof value === "string" && compareReleases(value, limit.release) <= 0
      : typeof value === "number" && value <= limit.atMost;
    const most = "release" in limit ? limit.release : limit.atMost;
    return kept ? [] : [`${name} must be at most ${most}: current value is ${value}`];
  });
}
