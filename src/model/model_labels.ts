/** Class names that a classifier's `config.json` gives its logits. */
import { join } from "@std/path";
import { BadInputError } from "../errors.ts";
import { readSmallText } from "../system/small_file.ts";

/**
 * `id2label` of a model folder's `config.json`, in the order of the ids.
 *
 * @returns `undefined` where there is none, or only transformers' placeholders (`LABEL_0`)
 * @throws {BadInputError} where the file is no JSON
 */
export function readModelLabels(folder: string): readonly string[] | undefined {
  const path = join(folder, "config.json");
  const text = readSmallText(path);
  if (text === undefined) return undefined;
  let id2label: unknown;
  try {
    id2label = JSON.parse(text)?.id2label;
  } catch (cause) {
    throw new BadInputError(`${path}: it is no JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof id2label !== "object" || id2label === null) return undefined;
  const entries = Object.entries(id2label).sort(([a], [b]) => Number(a) - Number(b));
  const sound = entries.length > 0 &&
    entries.every(([id, name], i) => Number(id) === i && typeof name === "string");
  if (!sound || entries.every(([id, name]) => name === `LABEL_${id}`)) return undefined;
  return entries.map(([, name]) => name);
}

/**
 * `config.json` with class names, so that a merged classifier says what its logits mean.
 *
 * @param config the base's `config.json`; absent where it has none
 */
export function configWithLabels(
  config: string | undefined,
  labels: readonly string[],
): string {
  const fields = config === undefined ? {} : JSON.parse(config);
  const id2label = Object.fromEntries(labels.map((name, id) => [id, name]));
  const label2id = Object.fromEntries(labels.map((name, id) => [name, id]));
  return JSON.stringify({ ...fields, id2label, label2id }, null, 2) + "\n";
}
