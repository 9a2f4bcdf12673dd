/** Reads small files beside a model, and those that a command line names. */
import { BadInputError, StorageError } from "../errors.ts";
import { regularFileSize } from "./regular_file.ts";

/** Largest accepted file: configurations of models have kilobytes, few of them megabytes. */
const MAX_BYTES = 16 << 20;

/**
 * A file's bytes.
 *
 * @param maxBytes the largest file accepted
 * @returns `undefined` if there is no such file
 * @throws {BadInputError} if it is not a regular file, or too large
 * @throws {StorageError} if it cannot be read
 */
export function readSmallFile(
  path: string,
  maxBytes = MAX_BYTES,
): Uint8Array<ArrayBuffer> | undefined {
  const size = regularFileSize(path);
  if (size === undefined) return undefined;
  if (size > maxBytes) {
    throw new BadInputError(
      `Cannot read ${path}: it may have at most ${maxBytes} bytes: current value is ${size}`,
    );
  }
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined; // removed meanwhile
    throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** The same as text; invalid UTF-8 becomes replacement characters. */
export function readSmallText(path: string): string | undefined {
  const bytes = readSmallFile(path);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/**
 * The text of a file that must be there.
 *
 * @throws {BadInputError} where it is missing or no regular file, naming it
 * @throws {StorageError} where it cannot be read
 */
export function readTextFile(path: string): string {
  const text = readSmallText(path);
  if (text === undefined) throw new BadInputError(`Cannot read ${path}: no such file`);
  return text;
}
