/** JSON in which values are exchanged, dropped or doubled; it stays sound JSON. */
import { pick, type Random } from "../random.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

/** Values that readers stumble over, of every type. */
export const SHARP_VALUES: readonly unknown[] = [
  ...[null, true, -1, 0, 0.5, 2 ** 31, 1e300, "", "a", "(a+)+$", "\u0000", [], {}, [[]]],
];

/**
 * One of the seeds with one to three of its values changed.
 *
 * @param values what takes their place
 */
export function otherJson(
  seeds: readonly Uint8Array[],
  values: readonly unknown[],
  random: Random,
): Uint8Array {
  const root: Json = JSON.parse(new TextDecoder().decode(pick(random, seeds)));
  for (let i = 1 + random(3); i > 0; i--) {
    let parent = root;
    let key = pick(random, Object.keys(parent));
    while (random(5) > 0 && parent[key] instanceof Object && Object.keys(parent[key]).length > 0) {
      parent = parent[key];
      key = pick(random, Object.keys(parent));
    }
    const other = pick(random, Object.keys(parent));
    if (random(4) === 0) delete parent[key];
    else {
      parent[key] = random(3) === 0 ? parent[other] : structuredClone(pick(random, values));
    }
    if (Object.keys(root).length === 0) break;
  }
  return new TextEncoder().encode(JSON.stringify(root));
}
