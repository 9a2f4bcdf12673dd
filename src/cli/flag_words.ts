/** Flags for another process of graft. */
import { kebab } from "../config/parameter.ts";

/** Values as words of a command line; lists and maps are given an item at a time. */
export function wordsOf(
  values: Readonly<Record<string, unknown>>,
  keys: readonly string[],
): string[] {
  return keys.filter((key) => values[key] !== undefined).flatMap((key) => {
    const [name, value] = [kebab(key), values[key]];
    if (typeof value === "boolean") return value ? `--${name}` : `--no-${name}`;
    if (typeof value !== "object" || value === null) return `--${name}=${value}`;
    const items = Array.isArray(value)
      ? value
      : Object.entries(value).map(([key, item]) => `${key}=${item}`);
    return items.map((item) => `--${name}=${item}`);
  });
}
