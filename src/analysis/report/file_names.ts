/** Names of files after modules, whose names come from files that others made. */

/** Most characters that are taken of a module's path: names of files may have 255 bytes. */
const MOST_CHARACTERS = 160;

/**
 * Gives names to files: letters, digits, `.`, `_` and `-` of what they are made of, and `_` for everything else.
 * Names that would be equal, also on disks that do not tell capitals apart, get numbers.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * const name = fileNames();
 * assertEquals([name("map", "a/q"), name("map", "a.q"), name("map", "A_Q")], [
 *   ...["map-a_q", "map-a.q", "map-A_Q-2"],
 * ]);
 * ```
 */
export function fileNames(): (kind: string, path: string) => string {
  const given = new Set<string>();
  return (kind, path) => {
    const plain = `${kind}-${path.slice(-MOST_CHARACTERS).replace(/[^A-Za-z0-9._-]/g, "_")}`;
    let name = plain;
    for (let i = 2; given.has(name.toLowerCase()); i++) name = `${plain}-${i}`;
    given.add(name.toLowerCase());
    return name;
  };
}
