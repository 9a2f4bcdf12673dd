/** A validation split that never has one prompt on both sides. */
import { BadInputError } from "../errors.ts";
import { randomFor, shuffle } from "./random.ts";

/** Row numbers of either side, ascending. */
export interface Split {
  /** Indices of the rows to train on, ascending. */
  readonly train: Uint32Array;
  /** Indices of the rows held out, ascending. */
  readonly valid: Uint32Array;
}

/**
 * Holds out whole groups of rows, in seeded order, until at least `fraction` of the rows are held out.
 *
 * @param groups each row's group: rows with equal prompts have equal numbers
 * @param fraction share of the rows for validation, in (0, 1)
 * @throws {RangeError} for another fraction
 * @throws {BadInputError} if all rows have one prompt, naming the source
 */
export function splitByGroup(
  groups: ArrayLike<number>,
  fraction: number,
  seed: number,
  source: string,
): Split {
  if (!(fraction > 0 && fraction < 1)) {
    throw new RangeError(`A validation share must be in (0, 1): current value is ${fraction}`);
  }
  const sizes = new Map<number, number>();
  for (let i = 0; i < groups.length; i++) sizes.set(groups[i], (sizes.get(groups[i]) ?? 0) + 1);
  if (sizes.size < 2) {
    throw new BadInputError(
      `${source}: cannot put rows aside for validation: all ${groups.length} rows have one prompt`,
    );
  }
  const order = shuffle([...sizes.keys()], randomFor(seed, "validation split"));
  const wanted = Math.max(1, Math.round(groups.length * fraction));
  const aside = new Set<number>();
  let count = 0;
  // The last group always stays: training needs one.
  for (const group of order.slice(0, -1)) {
    if (count >= wanted) break;
    aside.add(group);
    count += sizes.get(group)!;
  }
  const train = new Uint32Array(groups.length - count);
  const valid = new Uint32Array(count);
  let t = 0;
  let v = 0;
  for (let i = 0; i < groups.length; i++) {
    if (aside.has(groups[i])) valid[v++] = i;
    else train[t++] = i;
  }
  return { train, valid };
}
