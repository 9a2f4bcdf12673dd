/** Class names and their numbers. */
import { BadInputError } from "../errors.ts";

/** Class names in the order of their ids. */
export type LabelMap = readonly string[];

/**
 * Distinct names in order: whole numbers by value, anything else by code points, as Python sorts.
 */
export function sortLabels(names: Iterable<string>): LabelMap {
  const distinct = [...new Set(names)];
  const numeric = distinct.every((name) => /^(0|-?[1-9]\d{0,14})$/.test(name));
  return distinct.sort(numeric ? (a, b) => Number(a) - Number(b) : byCodePoints);
}

/** UTF-16 order differs from code point order only where surrogates meet U+E000 to U+FFFF. */
function byCodePoints(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = left[i].codePointAt(0)! - right[i].codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/**
 * The labels to train on.
 *
 * @param source name of the data, for messages
 * @throws {BadInputError} if there are fewer than two classes
 */
export function labelsToTrain(names: Iterable<string>, source: string): LabelMap {
  const labels = sortLabels(names);
  if (labels.length >= 2) return labels;
  throw new BadInputError(
    `${source}: classification needs at least two classes: current value is ` +
      (labels.length === 0 ? "none" : `only "${labels[0]}"`),
  );
}

/**
 * The id of a name.
 *
 * @throws {BadInputError} for a name that is not in the map
 */
export function classId(labels: ReadonlyMap<string, number>, label: string): number {
  const id = labels.get(label);
  if (id !== undefined) return id;
  const known = [...labels.keys()];
  throw new BadInputError(
    `the class "${label}" is not among the ${known.length} classes trained on ` +
      `(${known.slice(0, 5).join(", ")}${known.length > 5 ? ", …" : ""})`,
  );
}
