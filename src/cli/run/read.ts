/** Reading the small files a command line names. */
import { BadInputError } from "../../errors.ts";
import { readSmallText } from "../../system/small_file.ts";

/**
 * The text of a file.
 *
 * @throws {BadInputError} where it is missing or no regular file, naming it
 * @throws {StorageError} where it cannot be read
 */
export function readTextFile(path: string): string {
  const text = readSmallText(path);
  if (text === undefined) throw new BadInputError(`Cannot read ${path}: no such file`);
  return text;
}
