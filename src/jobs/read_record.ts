/** Reads what a folder is about: a small file of JSON in it. */
import { basename, dirname } from "@std/path";
import * as v from "valibot";
import { BadInputError, GraftError } from "../errors.ts";
import { readSmallText } from "../system/small_file.ts";

/**
 * @param path in a folder named by the record's id
 * @returns `undefined` if there is no such file
 * @throws {BadInputError} for a file that is damaged, or no regular file
 * @throws {StorageError} if it cannot be read
 */
export function readRecord<S extends v.GenericSchema<unknown, { readonly id: string }>>(
  path: string,
  schema: S,
): v.InferOutput<S> | undefined {
  const text = readSmallText(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // No schema takes `undefined`.
  }
  const { success, output } = v.safeParse(schema, value);
  if (success && output.id === basename(dirname(path))) return output;
  throw new BadInputError(`${path} is damaged: remove its folder`);
}

/**
 * The records of all folders in a folder that have one.
 *
 * @param read of a folder's name; throws where the record is damaged
 * @param onDamaged told of each record that cannot be read, which is passed over
 */
export function readRecords<T>(
  folder: string,
  read: (name: string) => T | undefined,
  onDamaged: (problem: string) => void,
): readonly T[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name }) => {
    try {
      return read(name) ?? [];
    } catch (error) {
      if (!(error instanceof GraftError)) throw error;
      onDamaged(error.message);
      return [];
    }
  });
}
